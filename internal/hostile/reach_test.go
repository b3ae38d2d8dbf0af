package hostile_test

func reachAttacks(s *site) []attack { return nil }
