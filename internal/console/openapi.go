package console

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The description of the API, as OpenAPI 3.1. It is made of the routes and of the types of
// what they answer.

type (
	object = map[string]any
	list   = []any
)

// ofAdmin are the routes that the admin listener serves itself.
var ofAdmin = []route{
	{method: http.MethodPost, path: api + "reload", summary: "Read the configuration again; 422 and the mistakes if it has any", body: mistakes{}},
	{method: http.MethodPost, path: api + "signin-links", summary: "A link that signs one browser in, once, within a minute; for the token alone", body: signinLink{}},
	{method: http.MethodGet, path: api + "report", summary: "What hosier status --json prints", body: object{}},
	{method: http.MethodGet, path: "/healthz", summary: "Whether the process serves", body: ""},
	{method: http.MethodGet, path: "/readyz", summary: "Whether an egress can serve; 503 and the reasons if none can", body: ""},
	{method: http.MethodGet, path: "/metrics", summary: "Metrics for Prometheus", body: ""},
}

type (
	mistakes struct {
		Mistakes []string `json:"mistakes"`
	}
	signinLink struct {
		Link    string    `json:"link"`
		Expires time.Time `json:"expires"`
	}
)

// notes are what the name of a field does not say.
var notes = map[string]string{
	"redacted":      "clients and targets are hidden",
	"ready":         "can serve",
	"up":            "payload bytes to targets",
	"down":          "payload bytes to clients",
	"rate":          "bytes a second, both ways: since the connections were last asked for if that was 1 to 10 seconds ago, else since the start of the connection",
	"member":        "of the egress, such as a tor",
	"status":        "code and words of the reply",
	"connections":   "that ended in the minute, or that are open",
	"p50":           "milliseconds; 0 if there were none",
	"p95":           "milliseconds; 0 if there were none",
	"bootstrap":     "percent; -1 if unknown",
	"streams":       "-1 if unknown",
	"open_circuits": "null if unknown",
	"path":          "of a circuit: nicknames of relays, or fingerprints; null before there are any",
	"charts":        "of the overview; each path is SVG in a box of 600 by 120",
	"more_circuits": "beside those in open_circuits",
	"error":         "the last one; it stays when it is over",
	"if":            "all must be so; empty for every request",
	"answered":      "not unsafe: this server had given the client the address",
	"private":       "not unsafe: addresses of private networks",
	"at":            "begin of the minute, or file:line; empty for a default",
}

// mayBeNull are the fields that are null if they are not known.
var mayBeNull = []string{"open_circuits", "path"}

func (c *Console) openAPI(w http.ResponseWriter, _ *http.Request, _ query) {
	answer(w, http.StatusOK, c.describe())
}

func (c *Console) describe() object {
	schemas := schemas{}
	paths := map[string]object{}
	for _, r := range append(c.routes(), ofAdmin...) {
		if r.summary == "" {
			continue // a page
		}
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path][strings.ToLower(r.method)] = schemas.operation(r)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "hosier", "version": "1",
			"description": "The API of the admin listener (hosier serve --admin). Invalid and unknown parameters get 400, requests without a token or session 401, " +
				"those of web pages elsewhere 403, other host names 421, and other methods 405 with Allow.",
		},
		"security": list{object{"token": list{}}, object{"session": list{}}},
		"paths":    paths,
		"components": object{"schemas": schemas, "securitySchemes": object{
			"token":   object{"type": "http", "scheme": "bearer", "description": "The text of the file admin.token in the state directory."},
			"session": object{"type": "apiKey", "in": "cookie", "name": "hosier-PORT", "description": "Of a browser that has signed in; methods that change something also take the header X-CSRF-Token, with the value in the page."},
		}},
	}
}

// schemas are those of the types of answers, by name.
type schemas map[string]object

// idOfPath makes the path of a route a part of the name of its operation.
var idOfPath = strings.NewReplacer(api, "_", "/", "_", "-", "_", "{", "", "}", "")

func (s schemas) operation(r route) object {
	o := object{
		"operationId": strings.ToLower(r.method) + idOfPath.Replace(r.path),
		"summary":     r.summary,
		"responses": object{
			"2XX": object{"description": "Done.", "content": s.content(r)},
			"default": object{"description": "An error; of those who are not signed in, as text.", "content": object{
				"application/json": object{"schema": s.of(reflect.TypeFor[problem](), "")}, "text/plain": object{"schema": object{"type": "string"}},
			}},
		},
	}
	params := list{}
	if strings.HasSuffix(r.path, "/{id}") {
		params = append(params, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "integer", "minimum": 1}})
	}
	for _, name := range r.params {
		params = append(params, object{"name": name, "in": "query", "required": name == r.required, "schema": paramSchema(name)})
	}
	o["parameters"] = params
	return o
}

func (s schemas) content(r route) object {
	schema, kind := s.of(reflect.TypeOf(r.body), ""), "application/json"
	if r.path == api+"events" {
		kind = "text/event-stream"
	} else if r.body == "" {
		kind = "text/plain"
	}
	return object{kind: object{"schema": schema}}
}

// paramSchema says what readQuery takes.
func paramSchema(name string) object {
	switch name {
	case "limit":
		return object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}
	case "sort":
		var names []string
		for _, s := range sortings {
			names = append(names, s.name, "-"+s.name)
		}
		return object{"type": "string", "enum": names, "default": usualSort}
	case "about":
		return object{"type": "array", "minItems": 1, "items": object{"type": "string", "enum": strings.Split(topicNames(), ", ")}}
	case "url":
		return object{"type": "string", "maxLength": maxURL}
	}
	return object{"type": "string", "maxLength": maxWord}
}

// of returns the schema of a field of type t, and keeps those of structs.
func (s schemas) of(t reflect.Type, field string) object {
	o := object{}
	if n := notes[field]; n != "" {
		o["description"] = n
	}
	switch k := t.Kind(); {
	case t == reflect.TypeFor[time.Time]():
		o["type"], o["format"] = "string", "date-time"
	case k == reflect.Struct:
		o["$ref"] = "#/components/schemas/" + s.add(t)
	case k == reflect.Slice:
		o["type"], o["items"] = "array", s.of(t.Elem(), "")
		if slices.Contains(mayBeNull, field) {
			o["type"] = list{"array", "null"}
		}
	case k == reflect.String:
		o["type"] = "string"
	case k == reflect.Bool:
		o["type"] = "boolean"
	case k == reflect.Float64:
		o["type"] = "number"
	case k == reflect.Map:
		o["type"] = "object"
	default:
		o["type"] = "integer"
	}
	return o
}

// add describes the fields of a struct, and returns the name of its schema.
func (s schemas) add(t reflect.Type) string {
	name := strings.TrimPrefix(t.String(), "console.")
	if s[name] == nil {
		properties, required := object{}, []string{}
		s[name] = object{"type": "object", "properties": properties}
		for _, f := range reflect.VisibleFields(t) {
			tag := f.Tag.Get("json")
			if tag == "" || tag == "-" {
				continue // embedded or hidden
			}
			key, options, _ := strings.Cut(tag, ",")
			if properties[key] = s.of(f.Type, key); options == "" {
				required = append(required, key)
			}
		}
		s[name]["required"] = required
	}
	return name
}
