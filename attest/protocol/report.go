package protocol

// Health is how a node is, by its own word.
type Health struct {
	// State is a word: "starting", "healthy", or "failing".
	State string `json:"state"`
	// Why is what is wrong, or missing.
	Why string `json:"why,omitempty"`
}
