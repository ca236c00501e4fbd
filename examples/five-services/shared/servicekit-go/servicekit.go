// Package servicekit is what the Go services share: a server with /health, one log line a request, and an orderly end.
package servicekit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Service is a name, the port it listens on and its routes. /health is added by Run.
type Service struct {
	Name   string
	Port   int
	Routes map[string]http.HandlerFunc
}

// Run serves until SIGTERM or SIGINT, then lets requests in flight end.
func (s Service) Run() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	started := time.Now()
	mux := http.NewServeMux()
	for path, handler := range s.Routes {
		mux.HandleFunc(path, handler)
	}
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, map[string]any{"service": s.Name, "status": "ok", "uptime_s": int(time.Since(started).Seconds())})
	})
	server := &http.Server{Addr: fmt.Sprintf(":%d", s.Port), Handler: logged(mux), ReadHeaderTimeout: 5 * time.Second}

	stopping, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-stopping.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(deadline)
	}()
	log.Printf("%s listens on port %d", s.Name, s.Port)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// WriteJSON answers with value; a value that cannot be encoded is the caller's mistake and becomes a 500.
func WriteJSON(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
}

func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s", r.Method, r.URL.Path)
		next.ServeHTTP(w, r)
	})
}
