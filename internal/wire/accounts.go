package wire

// TokenStatus is the answer to a token that asks about itself: GET /user/tokens/verify.
type TokenStatus struct {
	ID        string `json:"id"`
	Status    string `json:"status"` // "active"
	ExpiresOn *Time  `json:"expires_on,omitempty"`
}

// User is the user whom a token stands for. A node has one user for each account, with the account's id.
type User struct {
	ID               string `json:"id"`
	Email            string `json:"email"`
	Username         string `json:"username"`
	FirstName        string `json:"first_name"`
	LastName         string `json:"last_name"`
	Suspended        bool   `json:"suspended"`
	TwoFactorEnabled bool   `json:"two_factor_authentication_enabled"`
}

// Account is an account.
type Account struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Settings  AccountSettings `json:"settings"`
	CreatedOn Time            `json:"created_on"`
}

// AccountSettings are an account's settings.
type AccountSettings struct {
	EnforceTwoFactor bool `json:"enforce_twofactor"`
}

// Membership is a user's part in an account.
type Membership struct {
	ID               string     `json:"id"`
	Status           string     `json:"status"` // "accepted"
	Account          AccountRef `json:"account"`
	Roles            []string   `json:"roles"`
	APIAccessEnabled bool       `json:"api_access_enabled"`
}

// AccountRef names an account inside another object.
type AccountRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}
