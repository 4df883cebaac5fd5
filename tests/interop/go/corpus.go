// Judges the chains and requests of the corpus with Go's standard library.
//
// Usage: corpus DIR, the folder of manifest.json. Prints a JSON list of one judge with its verdicts: null where a file
// is taken, else what was said.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

type manifest struct {
	Cases []struct {
		File    string
		Kind    string
		Now     time.Time
		Bundles map[string]string
		Key     string
	}
}

type bundle struct {
	Keys []struct {
		Use string
		X5c []string
	}
}

type judge struct {
	Column   string             `json:"column"`
	Tool     string             `json:"tool"`
	Verdicts map[string]*string `json:"verdicts"`
}

func main() {
	verdicts, err := run(os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode([]judge{{"Go", "`crypto/x509` of " + runtime.Version(), verdicts}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string) (map[string]*string, error) {
	var list manifest
	if err := read(filepath.Join(dir, "manifest.json"), &list); err != nil {
		return nil, err
	}
	verdicts := map[string]*string{}
	for _, file := range list.Cases {
		bytes, err := os.ReadFile(filepath.Join(dir, file.File))
		if err != nil {
			return nil, err
		}
		var refused error
		switch file.Kind {
		case "chain":
			roots, err := pool(dir, file.Bundles)
			if err != nil {
				return nil, err
			}
			refused = chain(bytes, roots, file.Now)
			if refused == nil && file.Key != "" {
				key, err := os.ReadFile(filepath.Join(dir, file.Key))
				if err != nil {
					return nil, err
				}
				refused = pair(bytes, key)
			}
		case "request":
			refused = request(bytes)
		default:
			continue
		}
		verdicts[file.File] = nil
		if refused != nil {
			text := refused.Error()
			verdicts[file.File] = &text
		}
	}
	return verdicts, nil
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// pool has the roots of all bundles: there is only one pool.
func pool(dir string, bundles map[string]string) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	for _, file := range bundles {
		var document bundle
		if err := read(filepath.Join(dir, file), &document); err != nil {
			return nil, err
		}
		for _, key := range document.Keys {
			if key.Use != "x509-svid" {
				continue
			}
			der, err := base64.StdEncoding.DecodeString(key.X5c[0])
			if err != nil {
				return nil, err
			}
			root, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			roots.AddCert(root)
		}
	}
	return roots, nil
}

func chain(der []byte, roots *x509.CertPool, now time.Time) error {
	certificates, err := x509.ParseCertificates(der)
	if err != nil {
		return err
	}
	if len(certificates) == 0 {
		return errors.New("no certificates")
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range certificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err = certificates[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

func pair(chain, key []byte) error {
	certificates, err := x509.ParseCertificates(chain)
	if err != nil {
		return err
	}
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificates[0].Raw})
	_, err = tls.X509KeyPair(leaf, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	return err
}

func request(der []byte) error {
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	return request.CheckSignature()
}
