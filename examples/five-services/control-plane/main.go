// The control plane knows which agents exist: POST /agents?name=N announces one, GET /agents lists them.
package main

import (
	"net/http"
	"sort"
	"sync"

	"aic-sos.example/servicekit"
)

type registry struct {
	mu     sync.Mutex
	agents map[string]bool
}

func (r *registry) serve(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request.Method == http.MethodPost {
		name := request.URL.Query().Get("name")
		if name == "" {
			http.Error(w, "name is missing", http.StatusBadRequest)
			return
		}
		r.agents[name] = true
	}
	names := make([]string, 0, len(r.agents))
	for name := range r.agents {
		names = append(names, name)
	}
	sort.Strings(names)
	servicekit.WriteJSON(w, names)
}

func main() {
	agents := &registry{agents: map[string]bool{}}
	servicekit.Service{Name: "control-plane", Port: 8000, Routes: map[string]http.HandlerFunc{"/agents": agents.serve}}.Run()
}
