// The connector gateway takes events from outside and answers with what it would forward: POST /events.
package main

import (
	"io"
	"net/http"

	"aic-sos.example/servicekit"
)

const maxEventBytes = 64 << 10

func forward(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEventBytes))
	if err != nil {
		http.Error(w, "the event is too large", http.StatusRequestEntityTooLarge)
		return
	}
	servicekit.WriteJSON(w, map[string]any{"connector": r.Header.Get("X-Connector"), "bytes": len(body)})
}

func main() {
	servicekit.Service{Name: "connector-gateway", Port: 8001, Routes: map[string]http.HandlerFunc{"/events": forward}}.Run()
}
