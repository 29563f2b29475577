package attesttest

import "errors"

// ErrCut is of a command whose answer nobody reads.
var ErrCut = errors.New("cut")

// Cut is a TPM whose user ends in the middle of a command.
type Cut struct {
	*TPM

	// Left is how many commands are answered before that.
	Left int

	// End is what happens once the command after those has been sent, and before its answer is read.
	End func() error
}

// Send is of transport.TPM.
func (c *Cut) Send(command []byte) ([]byte, error) {
	if c.Left == 0 {
		if err := c.Write(command); err != nil {
			return nil, err
		}
		return nil, errors.Join(ErrCut, c.End())
	}
	c.Left--
	return c.TPM.Send(command)
}
