// Package durable writes files that survive a power cut: single files that are replaced whole (WriteFile), and a store of
// blobs named by the SHA-256 of their content (Blobs). It is not a database and knows nothing of who needs a blob; package
// store keeps the references.
//
// Invariant: a path that this package has returned success for holds the whole content, on disk, and never a part of it.
// All functions and methods may be called concurrently; one directory of Blobs belongs to one process.
package durable
