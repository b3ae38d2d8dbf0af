//go:build !amd64

package main

import "errors"

func otherABI() error { return errors.New("no other ABI") }

func x32() error { return errors.New("no other ABI") }
