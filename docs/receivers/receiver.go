// Receives kfbind's webhooks with the standard library alone: WEBHOOK_SECRET=whsec_… PORT=9000 go run receiver.go
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var key, _ = base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
var seen sync.Map // In production a table, in one transaction with what the event changes.

func isGenuine(id, timestamp, signatures string, body []byte) bool {
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if age := time.Now().Unix() - at; err != nil || age > 300 || age < -300 { // Five minutes.
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for _, one := range strings.Split(signatures, " ") {
		if hmac.Equal([]byte(one), expected) {
			return true
		}
	}
	return false
}

func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 65536)) // The very bytes that were signed.
	id := r.Header.Get("webhook-id")
	if err != nil || !isGenuine(id, r.Header.Get("webhook-timestamp"), r.Header.Get("webhook-signature"), body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var event struct {
		Type string             `json:"type"`
		Data map[string]*string `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if _, known := seen.LoadOrStore(id, true); !known { // Do here what the event means.
		fmt.Println(event.Type, *event.Data["openid"], *event.Data["external_userid"], id)
	}
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	if len(key) < 24 {
		panic("set WEBHOOK_SECRET to webhooks.secret")
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "9000"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(receive)))
}
