/*
 * pump.c - bytes over TCP, as many as there is room for
 *
 *     pump serve PORT            takes what comes, from one after the other
 *     pump send ADDRESS PORT MS  prints how many MB/s went out in that time
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char room[1 << 17];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int serve(int fd, struct sockaddr_in *at)
{
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (void *)at, sizeof(*at)) < 0 || listen(fd, 8) < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int from = accept(fd, NULL, NULL);

		while (from >= 0 && read(from, room, sizeof(room)) > 0)
			;
		close(from);
	}
}

static int sendall(int fd, const struct sockaddr_in *to, double seconds)
{
	double from, sent = 0;

	if (connect(fd, (const void *)to, sizeof(*to)) < 0)
		return 1;
	for (from = now(); now() - from < seconds;) {
		ssize_t n = write(fd, room, sizeof(room));

		if (n < 0)
			return 1;
		sent += (double)n;
	}
	printf("%.1f\n", sent / 1e6 / (now() - from));
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc == 3 && strcmp(argv[1], "serve") == 0) {
		a.sin_port = htons((uint16_t)atoi(argv[2]));
		return serve(fd, &a);
	}
	if (argc != 5 || inet_pton(AF_INET, argv[2], &a.sin_addr) != 1)
		return 2;
	a.sin_port = htons((uint16_t)atoi(argv[3]));
	return sendall(fd, &a, atoi(argv[4]) / 1e3);
}
