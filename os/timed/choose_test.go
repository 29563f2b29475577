package timed

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/beevik/ntp"
)

func TestChoose(t *testing.T) {
	const ms, year = time.Millisecond, 365 * 24 * time.Hour
	for _, test := range []struct {
		name    string
		answers []answer
		last    string
		best    string
		wrong   []string
	}{
		{"one", []answer{{"a", -50 * year, 16 * time.Second, 15}}, "", "a", nil},
		{"two that agree", []answer{{"a", 20 * ms, 30 * ms, 1}, {"b", 5 * ms, 10 * ms, 2}}, "", "b", nil},
		{"two that do not", []answer{{"a", 73 * year, 30 * ms, 1}, {"b", 5 * ms, 10 * ms, 2}}, "", "b", []string{"a"}},
		{"the nearest is wrong", []answer{{"a", 73 * year, 5 * ms, 1}, {"b", 9 * ms, 80 * ms, 2}, {"c", 0, 90 * ms, 2}}, "", "b", []string{"a"}},
		{"as far apart as there is time", []answer{{"a", 1<<63 - 1, 9 * ms, 1}, {"b", -1 << 63, 8 * ms, 1}}, "", "b", []string{"a"}},
		{"a wide one between two", []answer{{"a", 0, 5 * ms, 1}, {"b", time.Second, 6 * ms, 1}, {"c", 500 * ms, time.Second, 1}, {"d", ms, 7 * ms, 1}}, "", "a", []string{"b"}},
		{"two that do not, one of them the last", []answer{{"a", 73 * year, 30 * ms, 1}, {"b", 5 * ms, 10 * ms, 2}}, "a", "a", []string{"b"}},
		{"the last among two that agree", []answer{{"a", 20 * ms, 30 * ms, 1}, {"b", 5 * ms, 10 * ms, 2}}, "a", "b", nil},
		{"the last in the smaller group", []answer{{"a", 73 * year, 5 * ms, 1}, {"b", 9 * ms, 80 * ms, 2}, {"c", 0, 90 * ms, 2}}, "a", "b", []string{"a"}},
	} {
		best, wrong := choose(test.answers, test.last)
		var names []string
		for _, a := range wrong {
			names = append(names, a.server)
		}
		if best.server != test.best || !slices.Equal(names, test.wrong) {
			t.Errorf("%s: %v, wrong are %v; want %v and %v", test.name, best.server, names, test.best, test.wrong)
		}
	}
}

// FuzzChoose has a majority of honest servers, each as wrong as it says it may be at
// most, among liars that say what the fuzzer likes. Who is chosen agrees with the
// honest ones.
func FuzzChoose(f *testing.F) {
	f.Add(uint8(3), uint8(1), int64(0), []byte("12345678abcdefgh"), uint64(1))
	f.Add(uint8(1), uint8(0), int64(1<<62), []byte{}, uint64(2))
	f.Fuzz(func(t *testing.T, honest, liars uint8, truth int64, bytes []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		truth /= 2 // room for being wrong
		honest = honest%8 + 1
		liars %= honest
		var answers []answer
		for range honest {
			d := minDistance + time.Duration(random.Int64N(int64(maxDistance-minDistance)))
			answers = append(answers, answer{"honest", time.Duration(truth) + time.Duration(random.Int64N(2*int64(d))) - d, d, 2})
		}
		for range liars {
			var words [16]byte
			bytes = bytes[copy(words[:], bytes):]
			offset, distance := binary.LittleEndian.Uint64(words[:]), binary.LittleEndian.Uint64(words[8:])
			answers = append(answers, answer{"liar", time.Duration(offset), minDistance + time.Duration(distance%uint64(maxDistance-minDistance)), 2})
		}
		best, wrong := choose(answers, "liar")
		if !slices.Contains(answers, best) || slices.Contains(wrong, best) {
			t.Fatalf("%+v is not one of %+v, or wrong", best, answers)
		}
		for _, a := range wrong {
			if a.agree(best) {
				t.Errorf("%+v agrees with %+v and is wrong", a, best)
			}
		}
		if !slices.ContainsFunc(answers[:honest], best.agree) {
			t.Errorf("%+v agrees with nobody honest in %+v", best, answers)
		}
		random.Shuffle(len(answers), func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
		if again, _ := choose(answers, "liar"); again.offset != best.offset || again.distance != best.distance {
			t.Errorf("in another order %+v is chosen, not %+v", again, best)
		}
	})
}

// FuzzAnswer: whatever a response says, an answer that is made of it is one that
// choose and the clock can work with, and after the build.
func FuzzAnswer(f *testing.F) {
	now := built.Add(time.Hour)
	f.Add(now.UnixNano(), int64(10), int64(1), int64(0), int64(0), int64(0), uint8(2), uint8(0))
	f.Add(int64(0), int64(1e9), int64(1e8), now.UnixNano(), int64(1e6), int64(1e6), uint8(1), uint8(0))
	f.Add(int64(-1<<62), int64(4e9), int64(0), int64(1<<62), int64(-1<<63), int64(1<<63-1), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, client, waited, worked, offset, delay, dispersion int64, stratum, leap uint8) {
		sent := time.Unix(0, client)
		received := sent.Add(time.Duration(offset))
		r := &ntp.Response{
			Version: 4, Stratum: stratum, Leap: ntp.LeapIndicator(leap % 4),
			RootDelay: time.Duration(delay), RootDispersion: time.Duration(dispersion),
			Time: received.Add(time.Duration(worked)), ReferenceTime: received,
			Timestamps: ntp.ProtocolTimestamps{
				ClientXmit: sent, ServerRecv: received,
				ServerXmit: received.Add(time.Duration(worked)), ClientRecv: sent.Add(time.Duration(waited)),
			},
		}
		a, err := newAnswer("server", r, built)
		if err != nil {
			return
		}
		if a.distance < minDistance || a.distance > maxDistance || a.stratum == 0 || a.stratum > 15 {
			t.Errorf("%+v of %+v", a, r)
		}
		if at := r.Timestamps.ClientRecv.Add(a.offset); at.Before(built.Add(-tickTolerance)) {
			t.Errorf("the clock would be set to %v by %+v", at, r)
		}
		if wrong := a.offset - time.Duration(offset); wrong.Abs() > roundTime {
			t.Errorf("the offset is %v, not %v", a.offset, time.Duration(offset))
		}
	})
}
