package wire

// AssetsManifest is the request that begins an upload of static assets: POST .../assets-upload-session.
type AssetsManifest struct {
	Manifest map[string]AssetsFile `json:"manifest"` // by path, which begins with a slash
}

// AssetsFile is what a client says of a file: a hash of its own choice, and its size in bytes.
type AssetsFile struct {
	Hash string `json:"hash"`
	Size int64  `json:"size"`
}

// AssetsUpload is how far an upload of static assets is. JWT is what to upload with, or to deploy with where nothing is
// missing; Buckets are the hashes of the files that are, in portions for a request each. The answers to the uploads
// themselves have no JWT until nothing is missing, and never buckets: clients take any JWT for the last.
type AssetsUpload struct {
	JWT     string     `json:"jwt,omitempty"`
	Buckets [][]string `json:"buckets,omitzero"`
}
