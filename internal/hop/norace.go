//go:build !race

package hop

const underRace = false
