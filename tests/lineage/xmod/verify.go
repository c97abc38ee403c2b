// Verifies a log with code that is not govtrain's: golang.org/x/mod's implementations of signed notes and of tiled
// Merkle trees. Usage: verify DIR VKEY_FILE. Prints OK and exits 0, or prints what is wrong and exits 1.
// Build: GO111MODULE=off GOPATH=/usr/share/gocode /usr/lib/go-1.19/bin/go build verify.go
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// x/mod names a tile tile/8/<level>/<n>; on the disk there is no height.
type tiles struct{ root string }

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(want []tlog.Tile) (out [][]byte, err error) {
	for _, tile := range want {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.root, path))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

func check(err error) {
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
}

func head(root, vkeyFile string) (size int64, hash tlog.Hash) {
	vkey, err := os.ReadFile(vkeyFile)
	check(err)
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	check(err)
	signed, err := os.ReadFile(filepath.Join(root, "checkpoint"))
	check(err)
	opened, err := note.Open(signed, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		check(fmt.Errorf("origin %q is not the key's name", lines[0]))
	}
	size, err = strconv.ParseInt(lines[1], 10, 64)
	check(err)
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	copy(hash[:], raw)
	return size, hash
}

// The hashes of the entries themselves must be the authenticated hashes of the tree.
func checkEntries(root string, size int64, hashes []tlog.Hash) {
	index, bad := int64(0), 0
	for n := int64(0); n*256 < size; n++ {
		tile := tlog.Tile{H: 8, L: 0, N: n, W: 256}
		if size-n*256 < 256 {
			tile.W = int(size - n*256)
		}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(root, path))
		check(err)
		for len(data) >= 2 {
			length := int(binary.BigEndian.Uint16(data))
			if 2+length > len(data) || index >= size {
				check(fmt.Errorf("%s is malformed", path))
			}
			if tlog.RecordHash(data[2:2+length]) != hashes[index] {
				bad++
			}
			data = data[2+length:]
			index++
		}
	}
	fmt.Println("entries", index, "mismatch", bad)
	if bad > 0 || index != size {
		os.Exit(1)
	}
}

func main() {
	root := os.Args[1]
	size, hash := head(root, os.Args[2])
	if size > 0 {
		reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: hash}, tiles{root})
		indexes := make([]int64, size)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, int64(i))
		}
		hashes, err := reader.ReadHashes(indexes)
		check(err)
		checkEntries(root, size, hashes)
		for _, i := range []int64{0, size / 2, size - 1} {
			proof, err := tlog.ProveRecord(size, i, reader)
			check(err)
			check(tlog.CheckRecord(proof, size, hash, i, hashes[i]))
		}
		for _, old := range []int64{1, size / 2, size - 1} {
			if old < 1 {
				continue
			}
			oldHash, err := tlog.TreeHash(old, reader)
			check(err)
			proof, err := tlog.ProveTree(size, old, reader)
			check(err)
			check(tlog.CheckTree(proof, size, hash, old, oldHash))
		}
	}
	fmt.Println("OK")
}
