package tinktest

import (
	"cmp"
	"strconv"
	"strings"
)

// document is a workflow as the program tinkserver reads it.
type document struct {
	ID      string           `json:"id"`
	Agent   string           `json:"agent"`
	Timeout int              `json:"timeout"`
	Actions []documentAction `json:"actions"`
}

type documentAction struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Image       string   `json:"image"`
	Timeout     int64    `json:"timeout"`
	Command     []string `json:"command"`
	Volumes     []string `json:"volumes"`
	Environment []string `json:"environment"`
	PID         string   `json:"pid"`
}

func (k *Tinkerbell) document() document {
	w := k.options.Workflow
	d := document{ID: "default/workflow", Agent: w.Agent, Timeout: int(w.Timeout.Seconds())}
	for i, a := range w.Actions {
		image := a.Image
		if !strings.Contains(image, "/") {
			image = k.Actions.Address() + "/" + actionImage(a.Image)
		}
		d.Actions = append(d.Actions, documentAction{
			ID: strconv.Itoa(i + 1), Name: cmp.Or(a.Name, a.Image), Image: image,
			Timeout: int64(cmp.Or(a.Timeout, patience).Seconds()),
			Command: a.Command, Volumes: a.Volumes, Environment: a.Env, PID: a.PID,
		})
	}
	return d
}
