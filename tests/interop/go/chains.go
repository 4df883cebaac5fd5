// Judges a chain with Go's standard library.
//
// Usage: chains DIR ADDRESS ID. DIR holds what `signet svid x509 --write` leaves; ADDRESS is where the server takes
// agents. Prints one JSON object; any failed check is a message and exit 1.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// within bounds each conversation: nobody here takes seconds.
const within = 20 * time.Second

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir, address, id string) error {
	identity, err := tls.LoadX509KeyPair(filepath.Join(dir, "svid.pem"), filepath.Join(dir, "svid.key"))
	if err != nil {
		return fmt.Errorf("load the svid: %w", err)
	}
	roots, err := readRoots(filepath.Join(dir, "bundle.pem"))
	if err != nil {
		return err
	}
	if err := verify(identity.Certificate, roots, id); err != nil {
		return fmt.Errorf("verify the own chain: %w", err)
	}
	if verify(identity.Certificate[:1], roots, id) == nil {
		return errors.New("a chain without its intermediate was accepted")
	}
	if verify(identity.Certificate, x509.NewCertPool(), id) == nil {
		return errors.New("a chain without a root was accepted")
	}
	if err := refuse(dir, identity, roots); err != nil {
		return err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{identity},
		ClientAuth:   tls.RequireAnyClientCert,
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2"},
		// The hybrid exchange alone: a peer without it is not taken.
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		// A SPIFFE peer has no host name. What stands for it is below.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			var chain [][]byte
			for _, certificate := range state.PeerCertificates {
				chain = append(chain, certificate.Raw)
			}
			return verify(chain, roots, "")
		},
	}
	if err := withItself(config); err != nil {
		return fmt.Errorf("handshake with itself: %w", err)
	}
	group, err := withServer(config, address)
	if err != nil {
		return fmt.Errorf("handshake with the server: %w", err)
	}
	leaf, err := x509.ParseCertificate(identity.Certificate[0])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"go":        runtime.Version(),
		"key":       leaf.PublicKeyAlgorithm.String(),
		"signature": leaf.SignatureAlgorithm.String(),
		"exchange":  group,
	})
}

func readRoots(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse a root: %w", err)
		}
		if err := root.CheckSignatureFrom(root); err != nil {
			return nil, fmt.Errorf("a root did not sign itself: %w", err)
		}
		roots.AddCert(root)
	}
	return roots, nil
}

// refuse wants the spoilt chains refused, and the right one before and after its time, each for its own reason.
func refuse(dir string, right tls.Certificate, roots *x509.CertPool) error {
	files, err := filepath.Glob(filepath.Join(dir, "spoilt", "*.pem"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no spoilt chains: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var chain [][]byte
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			chain = append(chain, block.Bytes)
		}
		var unknown x509.UnknownAuthorityError
		if err := verify(chain, roots, ""); !errors.As(err, &unknown) {
			return fmt.Errorf("%s: not refused for its signature: %v", file, err)
		}
	}
	leaf, err := x509.ParseCertificate(right.Certificate[0])
	if err != nil {
		return err
	}
	for _, when := range []time.Time{leaf.NotBefore.Add(-time.Second), leaf.NotAfter.Add(time.Second)} {
		var invalid x509.CertificateInvalidError
		err := verifyAt(right.Certificate, roots, "", when)
		if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			return fmt.Errorf("at %s: not refused for the time: %v", when, err)
		}
	}
	return nil
}

// verify is verifyAt now.
func verify(chain [][]byte, roots *x509.CertPool, id string) error {
	return verifyAt(chain, roots, id, time.Now())
}

// verifyAt wants a chain to one of roots, for either end of TLS; and for id, unless it is empty.
func verifyAt(chain [][]byte, roots *x509.CertPool, id string, when time.Time) error {
	var certificates []*x509.Certificate
	for _, der := range chain {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		certificates = append(certificates, certificate)
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range certificates[1:] {
		intermediates.AddCert(certificate)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := certificates[0].Verify(x509.VerifyOptions{
			Roots:         roots,
			Intermediates: intermediates,
			KeyUsages:     []x509.ExtKeyUsage{usage},
			CurrentTime:   when,
		})
		if err != nil {
			return err
		}
	}
	names := certificates[0].URIs
	if len(names) != 1 || id != "" && names[0].String() != id {
		return fmt.Errorf("names are %v", names)
	}
	return nil
}

// withItself has both ends show the svid.
func withItself(config *tls.Config) error {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return err
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			defer connection.Close()
			err = connection.(*tls.Conn).Handshake()
		}
		served <- err
	}()
	connection, err := dial(config, listener.Addr().String())
	if err != nil {
		return err
	}
	defer connection.Close()
	return <-served
}

// withServer waits for the server's first frame of HTTP/2: it comes only where the svid that was shown is taken.
func withServer(config *tls.Config, address string) (string, error) {
	connection, err := dial(config, address)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	frame := make([]byte, 9)
	if _, err := connection.Read(frame); err != nil {
		return "", err
	}
	const settings = 4
	if frame[3] != settings {
		return "", fmt.Errorf("the first frame is of type %d", frame[3])
	}
	return connection.ConnectionState().CurveID.String(), nil
}

func dial(config *tls.Config, address string) (*tls.Conn, error) {
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: within}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	return connection, connection.SetDeadline(time.Now().Add(within))
}
