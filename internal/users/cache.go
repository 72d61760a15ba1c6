package users

import "time"

// cache remembers keys for a time, the latest of them if there are too many.
type cache struct {
	max   int
	age   time.Duration
	until map[key]time.Time
	order []key // the oldest first; all have the same age to live
}

func (c *cache) has(k key, now time.Time) bool {
	until, ok := c.until[k]
	return ok && now.Before(until)
}

func (c *cache) add(k key, now time.Time) {
	if c.until == nil {
		c.until = map[key]time.Time{}
	}
	if c.has(k, now) {
		return
	}
	for len(c.order) > 0 && (len(c.order) >= c.max || !c.has(c.order[0], now)) {
		delete(c.until, c.order[0])
		c.order = c.order[1:]
	}
	c.order = append(c.order, k)
	c.until[k] = now.Add(c.age)
}
