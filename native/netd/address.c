#include "address.h"

#include <arpa/inet.h>
#include <stdio.h>
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

int mac_parse(const char *what, const char *text, uint8_t ret[MAC_BYTES], struct err *err)
{
	unsigned int byte[MAC_BYTES];
	unsigned int any = 0;
	int length = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3],
		   &byte[4], &byte[5], &length) != MAC_BYTES ||
	    text[length] != '\0')
		return err_set(err, -EINVAL,
			       "cannot use %s \"%s\": must be six hexadecimal bytes with colons",
			       what, text);
	for (int i = 0; i < MAC_BYTES; i++)
		any |= byte[i];
	if ((byte[0] & 1) || any == 0)
		return err_set(err, -EINVAL, "cannot use %s \"%s\": must be a unicast address",
			       what, text);
	for (int i = 0; i < MAC_BYTES; i++)
		ret[i] = (uint8_t)byte[i];
	return 0;
}

void mac_from_address(struct in_addr address, uint8_t ret[MAC_BYTES])
{
	ret[0] = 0x02;
	ret[1] = 'g';
	memcpy(ret + 2, &address, sizeof(address));
}
