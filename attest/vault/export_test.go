package vault

// HeadEnd is where the digests begin in a blob.
const HeadEnd = headEnd
