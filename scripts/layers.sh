#!/usr/bin/env bash
# Fails when an include points up, or when an outside library is used outside its room. Prints file:line of each.
# Rooms: base < db, llm < core < http < the files beside main.c. web and demo see base only.
set -euo pipefail

cd "$(dirname "$0")/.."

mapfile -t files < <(find src -name '*.[ch]' | sort)
awk '
    BEGIN {
        may["base"] = " base "
        may["db"] = " base db "
        may["llm"] = " base llm "
        may["core"] = " base db llm core "
        may["web"] = " base web "
        may["http"] = " base db llm core web http "
        may["main"] = " base db llm core web http main "
        may["demo"] = " base demo "
        home["microhttpd.h"] = " http demo "
        home["libpq-fe.h"] = home["libpq/libpq-fs.h"] = home["postgres_ext.h"] = " db "
        home["curl/curl.h"] = home["curl/multi.h"] = home["curl/easy.h"] = " llm "
    }
    # src/room/file.c, or src/file.c, which is room "main"
    function room_of(path,    part) { return split(path, part, "/") > 2 ? part[2] : "main" }
    function bad(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; wrong = 1 }

    FNR == 1 {
        files++
        room = room_of(FILENAME)
        if (!(room in may)) bad("no such room: " room)
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        name = $0
        sub(/^[^"]*"/, "", name)
        sub(/".*/, "", name)
        target = split(name, part, "/") > 1 ? part[1] : "main"
        if (!(target in may)) bad("includes are written from src/, as \"base/log.h\": " name)
        else if (index(may[room], " " target " ") == 0) bad(room " must not know " name)
    }
    /^[ \t]*#[ \t]*include[ \t]*</ {
        name = $0
        sub(/^[^<]*</, "", name)
        sub(/>.*/, "", name)
        if (name in home && index(home[name], " " room " ") == 0) bad(name " belongs to" home[name] "alone")
    }
    END {
        if (wrong) exit 1
        printf "layers: %d files, every include points down\n", files
    }' "${files[@]}"
