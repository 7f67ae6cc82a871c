package lovage

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What a request may end with instead of an answer; errors.Is tells them apart. ErrInvalid, ErrLimit and
// ErrSoftTimeLimit are others.
var (
	// ErrDenied says that the host, or its address, was not granted to the task.
	ErrDenied = errors.New("denied")
	// ErrConnection says that nobody is there, or that nobody vouches for who is.
	ErrConnection = errors.New("no connection")
	// ErrTimeout says that it took too long.
	ErrTimeout = errors.New("no answer in time")
	// ErrResponse says that the answer is not complete or no HTTP, or that its status is an error.
	ErrResponse = errors.New("no good answer")
)

func init() {
	hostNames[ErrDenied], hostNames[ErrConnection] = "Denied", "ConnectionError"
	hostNames[ErrTimeout], hostNames[ErrResponse] = "TimeoutError", "HTTPError"
}

// Request is one to another machine, for a task that asks for the host: Capabilities("http:HOST").
type Request struct {
	// Method is GET when it is empty.
	Method string
	// URL is one of http or https.
	URL    string
	Header map[string]string
	Body   []byte
	// Timeout is how long to wait for the answer; 0 is as long as the worker waits.
	Timeout time.Duration
}

// Response is the answer to a Request, whatever its status: redirects are answers.
type Response struct {
	Status int
	// Header has names in small letters; of a name, the last one.
	Header map[string]string
	Body   []byte
}

// sender is a host that sends requests.
type sender interface {
	send(Request) (*Response, error)
}

// Fetch sends a request and waits for the whole answer. The worker sends it, over a connection of its own. A POST or a
// PATCH is given an Idempotency-Key that is the same in every attempt, unless it has one.
func Fetch(ctx *Ctx, request Request) (*Response, error) {
	if request.Method == "" {
		request.Method = "GET"
	}
	asked, ok := ctx.host.(sender)
	if !ok {
		return nil, &hostError{ErrDenied, "there is nobody here who would send it"}
	}
	return asked.send(request)
}

// JSON is a body and the header that says what it is.
func JSON(value any) (body []byte, header map[string]string, err error) {
	body, err = json.Marshal(value)
	return body, map[string]string{"content-type": "application/json"}, err
}

// JSON reads the body.
func (r *Response) JSON(into any) error { return json.Unmarshal(r.Body, into) }

// Check is an error when the status is 400 or above.
func (r *Response) Check() error {
	if r.Status < 400 {
		return nil
	}
	return &hostError{ErrResponse, fmt.Sprintf("the status is %d", r.Status)}
}
