// Asks a buildkitd what it says of the cases: `recorder ADDRESS BASES < requests > answers`.
//
// A request is a line of JSON: {"directory": ..., "options": {...}}; the answer is one too: the metadata of the
// subrequest (result.json, result.txt, result.statuscode), or {"error": ...}. BASES holds the OCI layouts bb, cfg, onb.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/cmd/buildctl/build"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/tonistiigi/fsutil"
)

type request struct {
	Directory string            `json:"directory"`
	Options   map[string]string `json:"options"`
}

func ask(ctx context.Context, c *client.Client, bases string, r request) (map[string]string, error) {
	dir, err := fsutil.NewFS(r.Directory)
	if err != nil {
		return nil, err
	}
	stores, err := build.ParseOCILayout([]string{"bb=" + bases + "/bb", "cfg=" + bases + "/cfg", "onb=" + bases + "/onb"})
	if err != nil {
		return nil, err
	}
	answer := map[string]string{}
	options := client.SolveOpt{LocalMounts: map[string]fsutil.FS{"context": dir, "dockerfile": dir}, OCIStores: stores}
	status := make(chan *client.SolveStatus)
	go func() {
		for range status {
		}
	}()
	_, err = c.Build(ctx, options, "corten-recorder", func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		res, err := g.Solve(ctx, gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: r.Options})
		if err != nil {
			return nil, err
		}
		for k, v := range res.Metadata {
			answer[k] = string(v)
		}
		return res, nil
	}, status)
	return answer, err
}

func main() {
	ctx := context.Background()
	c, err := client.New(ctx, os.Args[1])
	if err != nil {
		panic(err)
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			panic(err)
		}
		answer, err := ask(ctx, c, os.Args[2], r)
		if err != nil {
			answer = map[string]string{"error": strings.TrimSpace(err.Error())}
		}
		line, _ := json.Marshal(answer)
		fmt.Println(string(line))
	}
}
