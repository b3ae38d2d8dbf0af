package hostile_test

func forgeryAttacks() []attack { return nil }
