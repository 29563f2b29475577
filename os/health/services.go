package health

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/unit"
)

const servicesCheck = "services"

// most is how many units a reason names.
const most = 5

// services checks what is below the targets that this machine starts.
func (l *looker) services(statuses []service.Status) Check {
	byName := map[string]service.Status{}
	for _, s := range statuses {
		byName[s.Name] = s
	}
	target := l.Config.Target()
	var wrong []string
	up := 0
	for _, name := range below(byName, unit.BaseTarget, target) {
		s := byName[name]
		switch {
		case slices.Contains(l.Except, name):
		case strings.HasSuffix(name, ".target"):
			if name == target && s.State != service.Active {
				wrong = append(wrong, name+" is not reached")
			}
		case s.State == service.Active, s.State == service.Exited, s.State == service.Dead:
			up++
		default:
			wrong = append(wrong, describe(s))
		}
	}
	if target != "" && byName[target].Name == "" {
		wrong = append(wrong, target+" is not known yet")
	}
	if wrong == nil {
		return healthy(servicesCheck, "none of %d is down", up)
	}
	if more := len(wrong) - most; more > 0 {
		wrong = append(wrong[:most], fmt.Sprintf("%d more", more))
	}
	return unhealthy(servicesCheck, "%s", strings.Join(wrong, ", "))
}

// below gives the units that are known of those that start with the given ones, themselves included, by name.
func below(byName map[string]service.Status, names ...string) []string {
	var found []string
	for i := 0; i < len(names); i++ {
		s, known := byName[names[i]]
		if !known || slices.Contains(found, s.Name) {
			continue
		}
		found = append(found, s.Name)
		names = append(names, s.Units...)
	}
	slices.Sort(found)
	return found
}

func describe(s service.Status) string {
	text := s.Name + " is " + string(s.State)
	if s.State == service.Failed {
		text = s.Name + " has failed"
	}
	if s.Reason != "" {
		text += " (" + shown(s.Reason) + ")"
	}
	if s.State == service.Starting && s.Text != "" {
		text += " (it says: " + shown(s.Text) + ")"
	}
	return text
}
