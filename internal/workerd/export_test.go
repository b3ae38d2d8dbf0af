package workerd

// FindFrom is Find for an executable in dir.
var FindFrom = findFrom
