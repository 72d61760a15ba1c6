package console

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// operation is as much of one as the tests hold to the code.
type operation struct {
	OperationID string
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   map[string]any
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema map[string]any }
	}
}

// isOfAdmin reports whether the admin listener itself answers, and not the console.
func isOfAdmin(path string) bool {
	return slices.ContainsFunc(ofAdmin, func(r route) bool { return r.path == path })
}

// needed is the parameter that the operation requires, with a value; "" if there is none.
func (o *operation) needed() string {
	for _, p := range o.Parameters {
		if p.Required && p.In == "query" {
			return p.Name + "=" + map[string]string{"url": "a.example", "user": "ann", "about": "status"}[p.Name]
		}
	}
	return ""
}

// checkBody returns what of an answer does not fit its description.
func (o *operation) checkBody(schemas map[string]map[string]any, resp *http.Response, body string) []string {
	code := "2XX"
	if resp.StatusCode >= 400 {
		code = "default"
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	content, ok := o.Responses[code].Content[kind]
	var value any
	if !ok || json.Unmarshal([]byte(body), &value) != nil && kind == "application/json" {
		return []string{"the type is " + kind}
	}
	if kind == "text/plain" {
		value = body
	}
	return check(schemas, content.Schema, value)
}

// described are the operations of the API's description, by method and path, and its schemas.
func described(t *testing.T) (operations map[string]*operation, schemas map[string]map[string]any) {
	t.Helper()
	w := get(t, newConsole(newFake(0)), "GET", "/api/v1/openapi")
	var d struct {
		Paths      map[string]map[string]*operation
		Components struct{ Schemas map[string]map[string]any }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err)
	}
	operations = map[string]*operation{}
	for path, methods := range d.Paths {
		for method, o := range methods {
			operations[strings.ToUpper(method)+" "+path] = o
		}
	}
	return operations, d.Components.Schemas
}

// What is described is what is answered: each answer has all required fields of its schema and
// no others, and null only where the schema says so; of a busy hosier and of one that has nothing.
func TestAnswersDescribed(t *testing.T) {
	operations, schemas := described(t)
	seen := 0
	for name, f := range map[string]*fake{"busy": newFake(40), "idle": {}} {
		h := newConsole(f)
		for what, o := range operations {
			method, path, _ := strings.Cut(what, " ")
			if strings.HasSuffix(path, "/events") || strings.HasSuffix(path, "/openapi") || isOfAdmin(path) {
				continue
			}
			target := strings.Replace(path, "{id}", "1", 1)
			for _, target := range []string{target + "?" + o.needed(), target + "?x=1"} {
				seen++
				w := get(t, h, method, target)
				for _, wrong := range o.checkBody(schemas, w.Result(), w.Body.String()) {
					t.Errorf("%s: %s %s: %d: %s", name, method, target, w.Code, wrong)
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d answers", seen)
	}
}

// check returns what of a value does not fit its schema.
func check(schemas map[string]map[string]any, schema map[string]any, value any) (wrong []string) {
	if ref, ok := schema["$ref"].(string); ok {
		schema = schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
	kinds, kind := []any{schema["type"]}, ""
	if all, ok := schema["type"].([]any); ok {
		kinds = all
	}
	switch v := value.(type) {
	case map[string]any:
		kind = "object"
		properties, closed := schema["properties"].(map[string]any)
		if !closed {
			break
		}
		for _, name := range schema["required"].([]any) {
			if _, ok := v[name.(string)]; !ok {
				wrong = append(wrong, name.(string)+" is missing")
			}
		}
		for name, field := range v {
			p, ok := properties[name].(map[string]any)
			if !ok {
				wrong = append(wrong, name+" is not in the schema")
				continue
			}
			for _, w := range check(schemas, p, field) {
				wrong = append(wrong, name+": "+w)
			}
		}
	case []any:
		kind = "array"
		for _, item := range v {
			wrong = append(wrong, check(schemas, schema["items"].(map[string]any), item)...)
		}
	case nil:
		kind = "null"
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		if kind = "number"; slices.Contains(kinds, "integer") && v == float64(int64(v)) {
			kind = "integer"
		}
	}
	if !slices.Contains(kinds, any(kind)) {
		wrong = append(wrong, "it is of type "+kind)
	}
	return wrong
}

func TestCheckFinds(t *testing.T) {
	_, schemas := described(t)
	for body, want := range map[string]string{
		`{}`: "closed is missing", `{"closed":1,"more":2}`: "more is not in the schema", `{"closed":"1"}`: "closed: it is of type string",
		`{"closed":1.5}`: "closed: it is of type number", `[]`: "it is of type array", `null`: "it is of type null", `{"closed":1}`: "",
	} {
		var value any
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(check(schemas, map[string]any{"$ref": "#/components/schemas/ended"}, value), "; "); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// A parameter is taken as its schema says, and one that is not described is not taken.
func TestParametersDescribed(t *testing.T) {
	operations, _ := described(t)
	h := newConsole(newFake(3))
	for what, o := range operations {
		method, path, _ := strings.Cut(what, " ")
		known := map[string]map[string]any{}
		for _, p := range o.Parameters {
			known[p.Name] = p.Schema
		}
		if isOfAdmin(path) {
			continue
		}
		if strings.HasSuffix(path, "/events") {
			method = "HEAD" // or it would go on
		}
		for _, name := range []string{"limit", "q", "user", "sort", "url", "listener", "client", "closed", "reloaded", "nonsense"} {
			schema := known[name]
			var good, bad []string
			switch {
			case schema == nil:
				good, bad = nil, []string{"1"}
			case schema["maximum"] != nil:
				good, bad = []string{"1", strconv.Itoa(maxLimit)}, []string{"0", strconv.Itoa(maxLimit + 1)}
			case schema["enum"] != nil:
				good, bad = nil, []string{"--age", "none"}
				for _, word := range schema["enum"].([]any) {
					good = append(good, word.(string))
				}
			default:
				most := int(schema["maxLength"].(float64))
				good, bad = []string{strings.Repeat("x", most)}, []string{strings.Repeat("x", most+1)}
			}
			for i, value := range append(good, bad...) {
				target := strings.Replace(path, "{id}", "1", 1) + "?" + name + "=" + value
				if needed := o.needed(); needed != "" && !strings.HasPrefix(needed, name+"=") {
					target += "&" + needed
				}
				if w := get(t, h, method, target); (w.Code == http.StatusBadRequest) != (i >= len(good)) {
					t.Errorf("%s %.80s: %d %s", method, target, w.Code, w.Body)
				}
			}
		}
	}
}

// Every route of the API is described, and has a name and an answer of its own; every note is
// about a field that there is.
func TestRoutesDescribed(t *testing.T) {
	operations, schemas := described(t)
	ids := map[string]bool{}
	for _, r := range append(New(Options{}).routes(), ofAdmin...) {
		if o := operations[r.method+" "+r.path]; strings.HasPrefix(r.path, api) && (o == nil || r.summary == "" || r.body == nil) {
			t.Errorf("%s %s is not described", r.method, r.path)
		}
	}
	for _, o := range operations {
		ids[o.OperationID] = true
	}
	if len(ids) != len(operations) {
		t.Errorf("%d names for %d operations", len(ids), len(operations))
	}
	for _, topic := range topics {
		if got := topic.tell(t.Context(), New(Options{Source: newFake(1).source()}), query{Limit: 1, Sort: usualSort}); reflect.TypeOf(got) != reflect.TypeOf(topic.body) {
			t.Errorf("%s is described as %T, and is %T", topic.name, topic.body, got)
		}
	}
	fields := map[string]bool{}
	for _, s := range schemas {
		for name := range s["properties"].(map[string]any) {
			fields[name] = true
		}
	}
	for _, name := range append(slices.Collect(maps.Keys(notes)), mayBeNull...) {
		if !fields[name] {
			t.Errorf("there is no field %s", name)
		}
	}
}

// docs/console.md has each page and each request of the API, and no other.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:[A-Z]+ )?/[^`]*)`").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	code := map[string]bool{}
	for _, p := range pages {
		code[p.Href()] = true
	}
	for _, r := range New(Options{}).routes() {
		if strings.HasPrefix(r.path, api) {
			code[r.method+" "+r.path] = true
		}
	}
	if diff := cmp.Diff(code, documented); diff != "" || len(code) < 15 {
		t.Errorf("-code +docs\n%s", diff)
	}
	for _, number := range []int{defaultLimit, maxLimit, maxStreams} {
		if !strings.Contains(string(text), " "+strconv.Itoa(number)) {
			t.Errorf("it does not say %d", number)
		}
	}
}
