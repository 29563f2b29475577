// Command rke2 stands for the program of that name where a test starts rke2's own unit: it says that it is ready, and
// stays until it is told to end.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	fmt.Println("rke2", strings.Join(os.Args[1:], " "))
	if told, err := daemon.SdNotify(false, daemon.SdNotifyReady); !told {
		fmt.Fprintln(os.Stderr, "nobody hears that rke2 is ready:", err)
		os.Exit(1)
	}
	<-end
}
