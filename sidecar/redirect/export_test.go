package redirect

// Explain is explain, for kernels that a test cannot run on.
var Explain = explain
