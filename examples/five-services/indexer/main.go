// The indexer keeps an inverted index in memory: POST /documents?id=N with a text, GET /search?q=WORD.
package main

import (
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"

	"aic-sos.example/servicekit"
)

type index struct {
	mu    sync.RWMutex
	words map[string]map[string]bool
}

func (x *index) add(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || id == "" {
		http.Error(w, "an id and a text below 1 MiB are needed", http.StatusBadRequest)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, word := range strings.Fields(strings.ToLower(string(text))) {
		if x.words[word] == nil {
			x.words[word] = map[string]bool{}
		}
		x.words[word][id] = true
	}
	w.WriteHeader(http.StatusNoContent)
}

func (x *index) search(w http.ResponseWriter, r *http.Request) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := []string{}
	for id := range x.words[strings.ToLower(r.URL.Query().Get("q"))] {
		found = append(found, id)
	}
	sort.Strings(found)
	servicekit.WriteJSON(w, found)
}

func main() {
	x := &index{words: map[string]map[string]bool{}}
	servicekit.Service{Name: "indexer", Port: 9002, Routes: map[string]http.HandlerFunc{
		"/documents": x.add,
		"/search":    x.search,
	}}.Run()
}
