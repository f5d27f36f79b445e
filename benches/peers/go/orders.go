package main

// How many orders a search for 0 finds.
const defaultCount = 200_000

// count says how many orders a search asks for.
func count(asked int32) int32 {
	if asked == 0 {
		return defaultCount
	}
	return asked
}

// orderSn has 22 characters: a day and the id. As ../orders.rs.
func orderSn(id int32) string {
	text := [22]byte([]byte("2024010100000000000000"))
	digits(text[12:], uint32(id))
	return string(text[:])
}

// date has 19 characters: the id as seconds of a day.
func date(id int32) string {
	text := [19]byte([]byte("2024-01-01 00:00:00"))
	digits(text[11:13], uint32(id)/3600%24)
	digits(text[14:16], uint32(id)/60%60)
	digits(text[17:19], uint32(id)%60)
	return string(text[:])
}

// digits fills text from the right.
func digits(text []byte, value uint32) {
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = '0' + byte(value%10)
		value /= 10
	}
}
