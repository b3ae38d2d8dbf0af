package r2

import (
	"fmt"
	"strconv"

	"atoll.dev/atoll/internal/fault"
)

// The limits of R2, from https://developers.cloudflare.com/r2/platform/limits/.
const (
	MaxKey      = 1024
	MaxMetadata = 8192
	MaxPut      = 5<<30 - 5<<20 // of one request: an object, or a part
	MaxObject   = 5<<40 - 5<<30
	MinPart     = 5 << 20
	MaxParts    = 10_000
	MaxList     = 1000
	MaxDelete   = 1000
	MaxBuckets  = 1_000_000
)

// The codes of R2's errors, from https://developers.cloudflare.com/r2/api/error-codes/. The binding puts them behind the
// message.
const (
	CodeInternal        = 10001
	CodeForbidden       = 10003
	CodeBucketName      = 10005
	CodeNoBucket        = 10006
	CodeNoKey           = 10007
	CodeBucketNotEmpty  = 10008
	CodeTooManyBuckets  = 10009
	CodeTooSmall        = 10011
	CodeMetadata        = 10012
	CodeIncomplete      = 10013
	CodeObjectName      = 10020
	CodeMaxKeys         = 10022
	CodeNoUpload        = 10024
	CodeInvalidPart     = 10025
	CodeArgument        = 10029
	CodePrecondition    = 10031
	CodeDigest          = 10037
	CodeRange           = 10039
	CodeStorage         = 10042 // "not entitled": the account's storage is used up
	CodeBadUpload       = 10048
	CodeTooManyRequests = 10058
	CodeBucketConflict  = 10073
	CodeTooLarge        = 100100
)

func errNoBucket() error {
	return fault.New(fault.NotFound, CodeNoBucket, "The specified bucket does not exist.")
}

func errNoKey() error {
	return fault.New(fault.NotFound, CodeNoKey, "The specified key does not exist.")
}

func errNoUpload() error {
	return fault.New(fault.NotFound, CodeNoUpload, "The specified multipart upload does not exist.")
}

func errPrecondition() error {
	return fault.New(fault.Precondition, CodePrecondition, "At least one of the pre-conditions you specified did not hold.")
}

func errRange() error {
	return fault.New(fault.Invalid, CodeRange, "The requested range is not satisfiable")
}

func errTooLarge() error {
	return fault.New(fault.TooLarge, CodeTooLarge, "Your proposed upload exceeds the maximum allowed object size.")
}

func errMetadata() error {
	return fault.New(fault.Invalid, CodeMetadata, "Your metadata headers exceed the maximum allowed metadata size.")
}

func errObjectName() error {
	return fault.New(fault.Invalid, CodeObjectName, "The specified object name is not valid.")
}

func errArgument(format string, args ...any) error {
	return fault.New(fault.Invalid, CodeArgument, fmt.Sprintf(format, args...))
}

func itoa(n int) string { return strconv.Itoa(n) }
