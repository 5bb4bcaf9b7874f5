#include "address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int address_parse(const char *what, const char *text, struct in_addr *ret, struct err *err)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1)
		return err_set(err, -EINVAL, "cannot use %s \"%s\": must be an IPv4 address", what,
			       text);
	*ret = address;
	return 0;
}

int cidr_parse(const char *what, const char *text, struct cidr *ret, struct err *err)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : 0;
	struct cidr cidr;
	char *end;
	long prefix;
	int result;

	if (length == 0 || length >= sizeof(address) || slash[1] < '0' || slash[1] > '9')
		return err_set(err, -EINVAL,
			       "cannot use %s \"%s\": must be an IPv4 address with a prefix length",
			       what, text);
	prefix = strtol(slash + 1, &end, 10);
	if (*end != '\0' || prefix > 32)
		return err_set(err, -EINVAL,
			       "cannot use %s \"%s\": the prefix length must be 0 to 32", what,
			       text);
	memcpy(address, text, length);
	address[length] = '\0';
	result = address_parse(what, address, &cidr.address, err);
	if (result < 0)
		return result;
	cidr.prefix = (uint8_t)prefix;
	*ret = cidr;
	return 0;
}

/* Value of a hexadecimal digit, or -1. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int mac_parse(const char *what, const char *text, uint8_t ret[MAC_BYTES], struct err *err)
{
	uint8_t mac[MAC_BYTES] = {0};
	uint8_t any = 0;
	bool good = strlen(text) == MAC_BYTES * 3 - 1;

	for (size_t i = 0; good && i < MAC_BYTES; i++) {
		int high = digit(text[i * 3]), low = digit(text[i * 3 + 1]);

		good = high >= 0 && low >= 0 && (i == MAC_BYTES - 1 || text[i * 3 + 2] == ':');
		mac[i] = (uint8_t)(high * 16 + low);
		any |= mac[i];
	}
	if (!good)
		return err_set(err, -EINVAL,
			       "cannot use %s \"%s\": must be six hexadecimal bytes with colons",
			       what, text);
	if ((mac[0] & 1) || any == 0)
		return err_set(err, -EINVAL, "cannot use %s \"%s\": must be a unicast address",
			       what, text);
	memcpy(ret, mac, MAC_BYTES);
	return 0;
}

void mac_from_address(struct in_addr address, uint8_t ret[MAC_BYTES])
{
	ret[0] = 0x02;
	ret[1] = 'g';
	memcpy(ret + 2, &address, sizeof(address));
}
