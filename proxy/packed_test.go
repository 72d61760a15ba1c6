package proxy

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hosier/socks"
)

// A session is the same when its relay has ended as when it began, but for what isolated
// its request. A field that is added and not packed fails this.
func TestPackedSession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ses := Session{Request: new(socks.Request)}
		draw(t, reflect.ValueOf(ses.Request).Elem(), "Request.")
		draw(t, reflect.ValueOf(&ses).Elem(), "Session.")
		ses.Status = socks.Succeeded
		// What the end alone brings:
		ses.End, ses.Err, ses.Up, ses.Down, ses.FirstByte = time.Time{}, nil, 0, 0, 0
		r := ses.Request
		r.Client, r.Listener, r.User = ses.Client, ses.Listener, ses.User
		replied := time.Duration(rapid.Int64Min(0).Draw(t, "replied"))

		packed := pack(&ses, nil, replied)
		for _, secret := range []string{r.Auth.User, r.Auth.Password, r.Auth.Isolation} {
			if strings.Contains(packed.bytes, secret) {
				t.Errorf("%q is kept", secret)
			}
		}
		r.Auth.User, r.Auth.Password, r.Auth.Isolation = "", "", ""
		got, gotReplied := packed.session()
		if !reflect.DeepEqual(*got, ses) || gotReplied != replied {
			t.Errorf("got %+v of %v, want %+v of %v", *got, *got.Request, ses, *r)
		}
	})
}

// draw fills the fields of a struct that are not set.
func draw(t *rapid.T, v reflect.Value, name string) {
	for i := range v.NumField() {
		field, name := v.Field(i), name+v.Type().Field(i).Name
		switch set := field.Addr().Interface().(type) {
		case *netip.AddrPort:
			*set = netip.AddrPortFrom(drawIP(t, name), rapid.Uint16().Draw(t, name))
		case *netip.Addr:
			*set = drawIP(t, name)
		case *time.Time:
			*set = time.Now()
		case *bool:
			*set = rapid.Bool().Draw(t, name)
		case **socks.Request, *error: // set by the caller
		case *func(netip.Addr) error: // of no use once there is a relay
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString("<" + name + rapid.String().Draw(t, name) + ">") // none is part of another
			case reflect.Struct:
				draw(t, field, name+".")
			case reflect.Uint8, reflect.Uint16, reflect.Uint64:
				field.SetUint(rapid.Uint64Max(1<<field.Type().Bits()-1).Draw(t, name))
			case reflect.Int64:
				field.SetInt(rapid.Int64Min(0).Draw(t, name))
			default:
				t.Fatalf("%s is of a kind that this test does not know: %v", name, field.Kind())
			}
		}
	}
}

func drawIP(t *rapid.T, name string) netip.Addr {
	switch rapid.IntRange(0, 3).Draw(t, name) {
	case 0:
		return netip.Addr{}
	case 1:
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, name)))
	case 2:
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name)))
	}
	return netip.MustParseAddr("fe80::1").WithZone(strings.Repeat("z", rapid.IntRange(1, 300).Draw(t, name)))
}
