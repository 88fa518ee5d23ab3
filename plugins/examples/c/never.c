/* A plugin in C, without a JSON library: it has nothing and keeps nothing.
 *
 *     clang --target=wasm32-wasi --sysroot=/usr -O2 never.c -o never.wasm
 *     buildhook-wasm --policy /dev/null never.wasm
 *
 * It looks for the last member `id` of the line that stands on the first level, and takes the
 * line for well-formed: enough for what a host sends, and the whole of what can go wrong is a
 * wrong answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number after the member `id` of the first level; -1: there is none. */
static long long id_of(const char *line) {
    int depth = 0;
    long long id = -1;
    for (const char *at = line; *at != '\0'; at++) {
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        if (*at != '"') continue;
        const char *text = at + 1;
        for (at++; *at != '"' && *at != '\0'; at++)
            if (*at == '\\' && at[1] != '\0') at++;
        if (*at == '\0') break;
        if (depth == 1 && at - text == 2 && strncmp(text, "id", 2) == 0 && at[1] == ':')
            id = strtoll(at + 2, NULL, 10);
    }
    return id;
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    puts("{\"v\":[1],\"plugin\":{\"name\":\"never\",\"version\":\"1.0.0\"},"
         "\"hooks\":[\"want-to-build\"]}");
    fflush(stdout);
    while (getline(&line, &size, stdin) > 0) {
        printf("{\"id\":%lld,\"kind\":\"miss\",\"reason\":{\"code\":\"not-found\"}}\n", id_of(line));
        fflush(stdout);
    }
    free(line);
    return 0;
}
