package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

// Accounts lists the accounts that the token sees.
func (c *Client) Accounts(ctx context.Context) ([]wire.Account, error) {
	return do[[]wire.Account](ctx, c, request{method: http.MethodGet, path: "/accounts"})
}

// Account returns the account that the calls are about: the one that was chosen, else the only one there is. It asks the
// API once at most, but for a race, where two answers are the same.
func (c *Client) Account(ctx context.Context) (atoll.AccountID, error) {
	if id := c.account.Load(); id != nil {
		return *id, nil
	}
	list, err := c.Accounts(ctx)
	if err != nil {
		return "", err
	}
	if len(list) != 1 {
		return "", fault.Newf(fault.Invalid, 0, "the token sees %d accounts: say which one is meant", len(list))
	}
	id, err := atoll.ParseAccountID(list[0].ID)
	if err != nil {
		return "", fmt.Errorf("parse account: %w", err)
	}
	c.account.Store(&id)
	return id, nil
}

// inAccount returns r with its path put under the account's.
func (c *Client) inAccount(ctx context.Context, r request) (request, error) {
	id, err := c.Account(ctx)
	if err != nil {
		return r, err
	}
	r.path = path("accounts", string(id)) + r.path
	return r, nil
}

// doIn is do, under the account.
func doIn[T any](ctx context.Context, c *Client, r request) (T, error) {
	env, err := callIn[T](ctx, c, r)
	return env.Result, err
}

// callIn is call, under the account.
func callIn[T any](ctx context.Context, c *Client, r request) (wire.Response[T], error) {
	r, err := c.inAccount(ctx, r)
	if err != nil {
		return wire.Response[T]{}, err
	}
	return call[T](ctx, c, r)
}

// execIn is exec, under the account.
func (c *Client) execIn(ctx context.Context, r request) error {
	r, err := c.inAccount(ctx, r)
	if err != nil {
		return err
	}
	return c.exec(ctx, r)
}

// copyIn copies the bytes of an answer to w, under the account.
func (c *Client) copyIn(ctx context.Context, r request, w io.Writer) error {
	r, err := c.inAccount(ctx, r)
	if err != nil {
		return err
	}
	res, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
