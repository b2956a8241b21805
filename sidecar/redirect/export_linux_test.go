package redirect

import "github.com/google/nftables"

// Verify reads back what an earlier Apply wrote.
func Verify(r Rules) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	return verify(conn, &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}, r)
}
