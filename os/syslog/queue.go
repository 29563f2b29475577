package syslog

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/stage"
)

// QueueLimit is how many bytes of messages wait for the collector.
const QueueLimit = 4 << 20

// overhead is the memory of a message beside its text.
const overhead = 128

// item is a message in the queue. One session at a time has the last two fields.
type item struct {
	Message
	lost int // if it is the notice of lost messages, how many

	at  time.Time // when it was sent
	end uint64    // where it ends in the stream
}

func (i *item) size() int { return len(i.Text) + len(i.App) + overhead }

// queue is the messages that are not known to have arrived: those that were sent,
// then those that were not.
type queue struct {
	limit int
	news  chan struct{} // has an element if there may be something to send

	mu    sync.Mutex
	items []*item
	sent  int // of the items
	size  int // of the items
	lost  int // gone before they were sent, not reported yet
	gone  int // gone while it was not known whether they had arrived
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, news: make(chan struct{}, 1)}
}

// add puts a message at the end.
func (q *queue) add(m Message) {
	q.mu.Lock()
	q.items = append(q.items, &item{Message: m})
	q.size += q.items[len(q.items)-1].size()
	for q.size > q.limit {
		first := q.pop()
		count := max(1, first.lost)
		if q.sent > 0 {
			q.sent--
			q.gone += count
		} else {
			q.lost += count
		}
	}
	q.mu.Unlock()
	select {
	case q.news <- struct{}{}:
	default:
	}
}

func (q *queue) pop() *item {
	first := q.items[0]
	q.items[0] = nil
	q.items = q.items[1:]
	q.size -= first.size()
	return first
}

// next gives the first message that was not sent, or nil, and takes it as sent.
func (q *queue) next() *item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost > 0 {
		notice := &item{lost: q.lost, Message: Message{Daemon, stage.Now(), "ember", logline.Line{
			Severity: logline.Warning,
			Text:     fmt.Sprintf("messages lost here: %d, since more than %d KiB waited for the collector", q.lost, q.limit>>10),
		}}}
		q.items = slices.Insert(q.items, q.sent, notice)
		q.size += notice.size()
		q.lost = 0
	}
	if q.sent == len(q.items) {
		return nil
	}
	q.sent++
	return q.items[q.sent-1]
}

// confirm takes out the first sent messages, as long as arrived says so.
func (q *queue) confirm(arrived func(*item) bool) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	var confirmed []*item
	for q.sent > 0 && arrived(q.items[0]) {
		confirmed = append(confirmed, q.pop())
		q.sent--
	}
	if q.sent == 0 {
		q.gone = 0
	}
	return confirmed
}

// rewind takes all messages as not sent.
func (q *queue) rewind() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent = 0
	q.lost += q.gone
	q.gone = 0
}

// waiting counts the messages that were not sent, and those that were.
func (q *queue) waiting() (unsent, sent int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.sent, q.sent
}
