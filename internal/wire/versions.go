package wire

import "encoding/json"

// Version is one version of a script as lists show it.
type Version struct {
	ID          string            `json:"id"`
	Number      int               `json:"number"`
	Metadata    VersionMetadata   `json:"metadata"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Resources   json.RawMessage   `json:"resources,omitempty"` // of one version, not in lists
}

// VersionMetadata says when and from where a version came.
type VersionMetadata struct {
	CreatedOn   string `json:"created_on"`
	ModifiedOn  string `json:"modified_on,omitempty"`
	AuthorID    string `json:"author_id"`
	AuthorEmail string `json:"author_email"`
	Source      string `json:"source"`
	HasPreview  bool   `json:"hasPreview"`
}

// Versions is the list of versions, newest first.
type Versions struct {
	Items []Version `json:"items"`
}

// Deployment is one record of which version got the requests.
type Deployment struct {
	ID          string              `json:"id"`
	CreatedOn   string              `json:"created_on"`
	Source      string              `json:"source"`
	Strategy    string              `json:"strategy"`
	AuthorEmail string              `json:"author_email"`
	Versions    []DeploymentVersion `json:"versions"`
	Annotations map[string]string   `json:"annotations,omitempty"`
}

// DeploymentVersion is a version's share of the requests, in percent.
type DeploymentVersion struct {
	VersionID  string  `json:"version_id"`
	Percentage float64 `json:"percentage"`
}

// Deployments is the list of deployments, newest first.
type Deployments struct {
	Deployments []Deployment `json:"deployments"`
}

// DeploymentRequest is the body of a POST of a deployment.
type DeploymentRequest struct {
	Strategy    string              `json:"strategy"`
	Versions    []DeploymentVersion `json:"versions"`
	Annotations map[string]string   `json:"annotations,omitempty"`
}
