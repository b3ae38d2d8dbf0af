package hostile_test

func processAttacks() []attack { return nil }
