package hostile_test

func floodAttacks() []attack { return nil }
