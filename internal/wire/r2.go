package wire

// R2Bucket is a bucket of objects.
type R2Bucket struct {
	Name         string `json:"name"`
	Created      Time   `json:"creation_date"`
	Location     string `json:"location,omitempty"`
	Jurisdiction string `json:"jurisdiction"`
	StorageClass string `json:"storage_class"`
}

// R2Buckets is a list of buckets.
type R2Buckets struct {
	Buckets []R2Bucket `json:"buckets"`
}

// R2BucketRequest is the body that makes a bucket.
type R2BucketRequest struct {
	Name         string `json:"name"`
	LocationHint string `json:"locationHint,omitempty"`
	StorageClass string `json:"storageClass,omitempty"`
}

// R2Object is an object without its content.
type R2Object struct {
	Key          string            `json:"key"`
	ETag         string            `json:"etag"`
	Version      string            `json:"version,omitempty"`
	Size         int64             `json:"size"`
	LastModified Time              `json:"last_modified"`
	HTTP         *R2HTTPMetadata   `json:"http_metadata,omitempty"`
	Custom       map[string]string `json:"custom_metadata,omitempty"`
	StorageClass string            `json:"storage_class"`
}

// R2HTTPMetadata are the headers that go with an object.
type R2HTTPMetadata struct {
	ContentType        string `json:"contentType,omitempty"`
	ContentLanguage    string `json:"contentLanguage,omitempty"`
	ContentDisposition string `json:"contentDisposition,omitempty"`
	ContentEncoding    string `json:"contentEncoding,omitempty"`
	CacheControl       string `json:"cacheControl,omitempty"`
	CacheExpiry        *Time  `json:"cacheExpiry,omitempty"`
}

// R2Key names an object that was deleted.
type R2Key struct {
	Key string `json:"key"`
}
