package hostile_test

func memoryAttacks() []attack { return nil }
