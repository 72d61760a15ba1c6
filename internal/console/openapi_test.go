package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// document is as much of an OpenAPI description as the tests hold to the code.
type document struct {
	Paths      map[string]map[string]operation
	Components struct {
		Schemas    map[string]*schema
		Parameters map[string]parameter
		Responses  map[string]response
	}
}

type operation struct {
	OperationID string
	Parameters  []parameter
	Responses   map[string]response
}

type parameter struct {
	Ref      string `json:"$ref"`
	Name, In string
	Required bool
	Schema   schema
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema *schema }
}

// schema has the keywords of JSON Schema that the description may use.
type schema struct {
	Ref         string             `json:"$ref"`
	Type        any                `json:"type"` // a word, or several
	Description string             `json:"description"`
	Required    []string           `json:"required"`
	Properties  map[string]*schema `json:"properties"`
	Items       *schema            `json:"items"`
	Enum        []string           `json:"enum"`
	Format      string             `json:"format"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	MinLength   int                `json:"minLength"`
	MaxLength   int                `json:"maxLength"`
	MinItems    int                `json:"minItems"`
	Default     any                `json:"default"`
}

func (s *schema) UnmarshalJSON(b []byte) error {
	type plain schema
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields() // what nobody checks would promise what nobody holds
	return d.Decode((*plain)(s))
}

func readDocument(t *testing.T) *document {
	t.Helper()
	w := get(t, newConsole(newFake(0)), "GET", "/api/v1/openapi")
	d := new(document)
	if err := json.Unmarshal(w.Body.Bytes(), d); err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err)
	}
	return d
}

// check says what of a value does not fit the schema.
func (d *document) check(s *schema, value any, at string) (wrong []string) {
	add := func(format string, args ...any) {
		wrong = append(wrong, at+": "+fmt.Sprintf(format, args...))
	}
	if s.Ref != "" {
		name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		if d.Components.Schemas[name] == nil {
			return []string{at + ": there is no schema " + s.Ref}
		}
		return d.check(d.Components.Schemas[name], value, at)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				add("%s is missing", name)
			}
		}
		for name, field := range v {
			if s.Properties[name] == nil {
				add("%s is not in the schema", name)
			} else {
				wrong = append(wrong, d.check(s.Properties[name], field, at+"."+name)...)
			}
		}
	case []any:
		if s.Items == nil {
			add("the schema has no items")
			return wrong
		}
		for i, item := range v {
			wrong = append(wrong, d.check(s.Items, item, at+"."+strconv.Itoa(i))...)
		}
	case string:
		if _, err := time.Parse(time.RFC3339, v); s.Format == "date-time" && err != nil {
			add("%q is no time", v)
		}
		if s.Enum != nil && v != "" && !slices.Contains(s.Enum, v) {
			add("%q is none of %q", v, s.Enum)
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum {
			add("%v is less than %v", v, *s.Minimum)
		}
		if v != float64(int64(v)) && s.Type == "integer" {
			add("%v is no integer", v)
		}
	}
	if !slices.Contains(s.types(), typeOf(value)) {
		add("%v is no %v", value, s.Type)
	}
	return wrong
}

// types are those that a schema allows; an integer is a number, too.
func (s *schema) types() []string {
	words := []string{fmt.Sprint(s.Type)}
	if list, ok := s.Type.([]any); ok {
		words = nil
		for _, w := range list {
			words = append(words, fmt.Sprint(w))
		}
	}
	if slices.Contains(words, "integer") {
		words = append(words, "number")
	}
	return words
}

func typeOf(value any) string {
	switch value.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "boolean"
	}
	return "null"
}

// ofAdmin are the paths that the admin listener answers itself; that it does is shown where
// there is one.
var ofAdmin = []string{"post /api/v1/reload", "post /api/v1/signin-links", "get /healthz", "get /readyz", "get /metrics"}

// Every route is in the description, with the parameters that it knows, and nothing else is.
func TestRoutesDescribed(t *testing.T) {
	d := readDocument(t)
	described := slices.Clone(ofAdmin)
	for _, r := range New(Options{}).routes() {
		if strings.HasPrefix(r.path, api) {
			described = append(described, strings.ToLower(r.method)+" "+r.path)
		}
	}
	var found, ids []string
	for path, methods := range d.Paths {
		for method, op := range methods {
			found, ids = append(found, method+" "+path), append(ids, op.OperationID)
		}
	}
	slices.Sort(described)
	slices.Sort(found)
	if diff := cmp.Diff(described, found); diff != "" {
		t.Errorf("-code +description\n%s", diff)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != len(found) {
		t.Errorf("operations share an id: %q", ids)
	}
}

// The parameters in the description are those that are taken, and are taken as they say.
func TestParametersDescribed(t *testing.T) {
	d, h := readDocument(t), newConsole(newFake(3))
	for path, methods := range d.Paths {
		for method, op := range methods {
			if slices.Contains(ofAdmin, method+" "+path) {
				continue
			}
			known := map[string]bool{}
			required := ""
			for _, p := range op.Parameters {
				if p.Ref != "" {
					p = d.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
				}
				if known[p.Name] = true; p.In == "query" && p.Required {
					required = p.Name + "=" + map[string]string{"url": "www.example", "user": "nobody", "about": "status"}[p.Name]
				}
				d.checkParameter(t, h, method, path, p)
			}
			if strings.HasSuffix(path, "/events") {
				continue // it would go on
			}
			for _, name := range []string{"limit", "q", "user", "sort", "url", "listener", "client", "about", "closed", "reloaded", "nonsense"} {
				target := strings.Replace(path, "{id}", "1", 1) + "?" + required
				if !strings.Contains(required, name+"=") {
					target += "&" + name + "=" + map[string]string{"limit": "1", "sort": "age", "about": "status"}[name]
				}
				w := get(t, h, strings.ToUpper(method), target)
				if known[name] == (w.Code == http.StatusBadRequest) {
					t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
				}
			}
		}
	}
}

// checkParameter asks for what the schema of a parameter allows, and for a little more.
func (d *document) checkParameter(t *testing.T, h http.Handler, method, path string, p parameter) {
	t.Helper()
	if p.In != "query" || p.Name == "about" {
		return
	}
	var good, bad []string
	switch s := p.Schema; {
	case s.Minimum != nil:
		good, bad = []string{fmt.Sprint(*s.Minimum), fmt.Sprint(*s.Maximum)}, []string{fmt.Sprint(*s.Minimum - 1), fmt.Sprint(*s.Maximum + 1)}
		if s.Default != float64(defaultLimit) {
			t.Errorf("%s %s: the default of %s is %v", method, path, p.Name, s.Default)
		}
	case s.Enum != nil:
		good, bad = s.Enum, []string{"--age", "none"}
		if len(good) != 2*len(sortings) || s.Default != usualSort {
			t.Errorf("%s %s: %d orders of %d", method, path, len(good), 2*len(sortings))
		}
	case s.MaxLength > 0:
		good, bad = []string{strings.Repeat("x", s.MaxLength)}, []string{strings.Repeat("x", s.MaxLength+1)}
	}
	if len(good)+len(bad) < 2 {
		t.Errorf("%s %s: the schema of %s says too little", method, path, p.Name)
	}
	target := strings.Replace(path, "{id}", "1", 1) + "?"
	if strings.HasSuffix(path, "/explain") && p.Name != "url" {
		target += "url=www.example&"
	}
	method = strings.ToUpper(method)
	if strings.HasSuffix(path, "/events") {
		method, target = "HEAD", target+"about=status&"
	}
	for _, value := range good {
		if w := get(t, h, method, target+p.Name+"="+value); w.Code != http.StatusOK {
			t.Errorf("%s %s%s=%.50s: %d %s", method, target, p.Name, value, w.Code, w.Body)
		}
	}
	for _, value := range bad {
		if w := get(t, h, method, target+p.Name+"="+value); w.Code != http.StatusBadRequest {
			t.Errorf("%s %s%s=%.50s: %d %s", method, target, p.Name, value, w.Code, w.Body)
		}
	}
}

// schemaTypes are the Go types of the schemas.
var schemaTypes = map[string]any{
	"Status": Status{}, "Connection": openConnection{}, "ConnectionList": connectionList{}, "Minute": Minute{},
	"Quantiles": Quantiles{}, "History": history{}, "Failure": Failure{}, "FailureList": failureList{}, "Egress": Egress{},
	"EgressList": egressList{}, "Tor": Tor{}, "Circuit": Circuit{}, "Rule": Rule{}, "RuleList": ruleList{}, "Leak": Leak{},
	"LeakList": leakList{}, "Config": Config{}, "Setting": Setting{}, "Explanation": Explanation{}, "Ended": ended{}, "Problem": problem{},
}

// jsonFields are the fields of a struct as JSON has them, with those that are always there.
func jsonFields(t reflect.Type) (all, always []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			a, b := jsonFields(f.Type)
			all, always = append(all, a...), append(always, b...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, name)
		if options == "" {
			always = append(always, name)
		}
	}
	slices.Sort(all)
	slices.Sort(always)
	return all, always
}

// Every field of what is answered is in its schema, and every property there is such a field.
func TestFieldsDescribed(t *testing.T) {
	d := readDocument(t)
	for name, s := range d.Components.Schemas {
		if name == "Mistakes" || name == "SigninLink" { // the admin listener's
			continue
		}
		value, ok := schemaTypes[name]
		if !ok {
			t.Errorf("%s is the schema of nothing", name)
			continue
		}
		all, always := jsonFields(reflect.TypeOf(value))
		if diff := cmp.Diff(all, slices.Sorted(maps.Keys(s.Properties))); diff != "" {
			t.Errorf("%s: -code +description\n%s", name, diff)
		}
		slices.Sort(s.Required)
		if diff := cmp.Diff(always, s.Required); diff != "" {
			t.Errorf("%s: required: -code +description\n%s", name, diff)
		}
	}
	for name := range schemaTypes {
		if d.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
}

// What is answered fits its schema: of a busy hosier, of one that has nothing, and errors.
func TestAnswersDescribed(t *testing.T) {
	d := readDocument(t)
	for name, f := range map[string]*fake{"busy": newFake(40), "idle": {}} {
		h := newConsole(f)
		for path, methods := range d.Paths {
			for method, op := range methods {
				if slices.Contains(ofAdmin, method+" "+path) || strings.HasSuffix(path, "/events") || strings.HasSuffix(path, "/openapi") {
					continue
				}
				target := strings.Replace(path, "{id}", "1", 1)
				if strings.HasSuffix(path, "/explain") {
					target += "?url=www.example"
				} else if method == "delete" && target == path {
					target += "?user=ann"
				}
				d.checkAnswer(t, name, get(t, h, strings.ToUpper(method), target), method+" "+target, op)
				path, query, _ := strings.Cut(target, "?")
				d.checkAnswer(t, name, get(t, h, strings.ToUpper(method), path+"?x=1&"+query), method+" "+target, op)
			}
		}
	}
}

func (d *document) checkAnswer(t *testing.T, name string, w interface {
	Result() *http.Response
}, what string, op operation,
) {
	t.Helper()
	resp := w.Result()
	described, ok := op.Responses[strconv.Itoa(resp.StatusCode)]
	if described.Ref != "" {
		described = d.Components.Responses[strings.TrimPrefix(described.Ref, "#/components/responses/")]
	}
	content, hasContent := described.Content[resp.Header.Get("Content-Type")]
	if !ok || !hasContent {
		t.Errorf("%s: %s: %d of type %s is not described", name, what, resp.StatusCode, resp.Header.Get("Content-Type"))
		return
	}
	var value any
	if err := json.NewDecoder(resp.Body).Decode(&value); err != nil {
		t.Errorf("%s: %s: %v", name, what, err)
	}
	for _, wrong := range d.check(content.Schema, value, what) {
		t.Errorf("%s: %s", name, wrong)
	}
}

// The check itself finds what is wrong.
func TestCheckFinds(t *testing.T) {
	d := readDocument(t)
	for body, want := range map[string]string{
		`{}`:                      "closed is missing",
		`{"closed":1,"more":2}`:   "more is not in the schema",
		`{"closed":"1"}`:          "1 is no integer",
		`{"closed":-1}`:           "-1 is less than 0",
		`{"closed":1.5}`:          "1.5 is no integer",
		`[]`:                      "the schema has no items",
		`null`:                    "<nil> is no object",
		`{"closed":1}`:            "",
		`{"closed":null}`:         "<nil> is no integer",
		`{"closed":{"closed":1}}`: "closed is not in the schema",
	} {
		var value any
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(d.check(&schema{Ref: "#/components/schemas/Ended"}, value, ""), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
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
