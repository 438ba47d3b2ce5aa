/*
 * The log of one timeline: sessions that may continue it, fences, and folding (docs/format.md, sections 11 and 15), as a
 * model for spin.
 *
 * A frame is known by its number, and says whether the session that wrote it took the newest frame of the log for the one
 * before. Each session may commit twice, one segment of one frame each. A folder makes one segment of all that stand but
 * the newest, and then takes away the old ones. Anybody may be killed between any two steps, and a person may end any
 * session that writes, dead or alive.
 *
 * A step is one operation of the store; a listing is one step. Names of invariants are those of docs/format.md; names of
 * functions are those of src/knowngood/vault. -DBROKEN=n breaks one rule (the list is in machine.py).
 */

#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef FOLDERS
#define FOLDERS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef ENDINGS
#define ENDINGS 1
#endif
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef COMMITS
#define COMMITS 3           /* numbers of a session: two commits, and a fence after them */
#endif
#define FRAMES 8            /* numbers of frames, from 1 */
#define EMPTY 0             /* under the key of a commit: nothing, a fence, or a frame's number + 1 */
#define FENCE 1
#define FRAME(n) ((n) + 1)
#define BIT(n) (1 << (n))
#define AT(s, n) commits[(s) * COMMITS + (n)]

/* ---------------------------------------------------------------------------------------------------- the store */
byte commits[WRITERS * COMMITS];
bool segment[FRAMES];       /* the segment that holds a frame by itself */
byte made;                  /* frames that were ever made */
byte before[FRAMES];        /* frame -> the frame that it names as the one before it */
byte number[FRAMES];        /* frame -> its place in the log: one more than that of the one before it */
byte folded;                /* the frames that a visible folded segment holds, as bits */
byte landing;               /* and those of one that has landed and is not visible yet */
bool card[WRITERS], dead[WRITERS], ended[WRITERS];
bool own_card[FOLDERS], own_dead[FOLDERS];
bool kill[WRITERS + FOLDERS];
bool told[FRAMES];          /* whoever wrote it was told that it is durable */

/* ------------------------------------------------------------------------------------------------ what has to be */
inline visible(n, so) {
    q = 0; so = (folded & BIT(n)) != 0;
    do
    :: q < WRITERS * COMMITS -> so = so || (commits[q] == FRAME(n) && segment[n]); q++
    :: else -> break
    od;
    q = 0
}

/* INV-11: no two visible frames name the same one before. INV-12, INV-2: what was told of is there; a commit's segment is
   there while nothing stands for it. */
inline log_is_whole() {
    d_step {
        byte m, n, q; bool here, there;
        m = 1;
        do
        :: m <= made ->
            visible(m, here);
            assert(here || !told[m]);
            n = m + 1;
            do
            :: n <= made -> visible(n, there); assert(!(here && there && before[m] == before[n])); n++
            :: else -> break
            od;
            m++
        :: else -> break
        od;
        m = 0; n = 0; here = false; there = false
    }
}

/* Where the log ends: the newest of the frames that a listing of the commits shows (log_catalog.py, newest). */
inline newest_frame(into) {
    d_step {
        byte r = 0;
        into = 0;
        do
        :: r < FRAMES -> if :: (folded & BIT(r)) && number[r] > number[into] -> into = r :: else -> skip fi; r++
        :: else -> break
        od;
        r = 0;
        do
        :: r < WRITERS * COMMITS ->
            if
            :: commits[r] > FENCE && number[commits[r] - 1] > number[into] -> into = commits[r] - 1
            :: else -> skip
            fi;
            r++
        :: else -> break
        od;
        r = 0
    }
}

/* ------------------------------------------------------------------------------------------------------ a session */
/* session.py, _first_free: doubling, then halving; with so few numbers, one by one is the same. */
inline fence(w) {
    at = 0;
#if BROKEN != 2
    do
    :: atomic { at < COMMITS && AT(w, at) != EMPTY -> at++ }
    :: atomic { at < COMMITS && AT(w, at) == EMPTY -> AT(w, at) = FENCE; break }
    :: atomic { at == COMMITS -> break }
    od;
#endif
    atomic { ended[w] = true; card[w] = false; at = 0 }
}

proctype writer(byte s) {
    byte w, at, last, mine, next;
    bool away;
    {
#if BROKEN == 3
        newest_frame(last);
#endif
        card[s] = true;                                                    /* Session._announce */
#if BROKEN != 1
        do                                                                 /* Session._be_the_only_writer (INV-11) */
        :: atomic { w < WRITERS && w != s && card[w] && !dead[w] -> goto leave }
        :: atomic { w < WRITERS && w != s && card[w] && dead[w] -> skip }; fence(w); w++
        :: atomic { w < WRITERS && (w == s || !card[w]) -> w++ }
        :: atomic { w == WRITERS -> w = 0; break }
        od;
#endif
#if BROKEN != 3
        newest_frame(last);                                                /* LogWriter.__init__ */
#endif
        do
        :: next < COMMITS - 1 ->
            atomic { made < FRAMES - 1 -> made++; mine = made; before[mine] = last; number[mine] = number[last] + 1 };
#if BROKEN == 6
            skip;
#else
            segment[mine] = true;                                          /* LogWriter._land */
#endif
            if :: card[s] -> skip :: !card[s] -> goto leave fi;            /* Session.require_announced */
            if
            :: atomic {                                                    /* Session.commit: put if absent */
                   AT(s, next) == EMPTY ->
                   assert(!ended[s]);                                      /* INV-3 */
                   AT(s, next) = FRAME(mine); next++;
                   log_is_whole()
               }
            :: AT(s, next) != EMPTY -> goto leave                          /* Fenced */
            fi;
            atomic { told[mine] = true; last = mine; log_is_whole() }
        :: break
        od;
        leave:
        atomic { card[s] = false; away = true; w = 0; last = 0; mine = 0; next = 0; at = 0 }
    } unless { atomic { kill[s] && !away -> dead[s] = true; away = true; w = 0; last = 0; mine = 0; next = 0; at = 0 } }
}

/* ------------------------------------------------------------------------------------------------------- folding */
#define STALE(at) (commits[at] > FENCE && (folded & BIT(commits[at] - 1)) != 0)

/* fold.py: the new segment, its commit, and only when nobody else is announced, the old commits and segments. */
proctype folder(byte i) {
    byte w, at, newest, all;
    bool others, away;
    {
        own_card[i] = true;
        do                                                                 /* Session._be_alone (INV-9) */
        :: atomic { w < FOLDERS && w != i && own_card[w] && !own_dead[w] -> goto leave }
        :: atomic { w < FOLDERS && w != i && own_card[w] && own_dead[w] -> own_card[w] = false; w++ }
        :: atomic { w < FOLDERS && (w == i || !own_card[w]) -> w++ }
        :: atomic { w == FOLDERS -> w = 0; break }
        od;
        atomic {
            newest_frame(newest);
            d_step {                                                       /* never the newest: it says where the log ends */
                all = folded;
                do
                :: at < WRITERS * COMMITS ->
                    if
                    :: commits[at] > FENCE && commits[at] - 1 != newest -> all = all | BIT(commits[at] - 1)
                    :: else -> skip
                    fi;
                    at++
                :: else -> break
                od;
                at = 0
            }
        };
        if
        :: all != folded ->
#if BROKEN == 4
            do
            :: atomic { w < FRAMES -> segment[w] = segment[w] && !(all & BIT(w)); w++; log_is_whole() }
            :: atomic { w == FRAMES -> w = 0; break }
            od;
#endif
            landing = all;                                                 /* land, read back */
            atomic { folded = all; log_is_whole() }                        /* commit */
        :: else -> skip
        fi;
        /* _take_away: a session whose commits go could not be fenced any more (INV-3) */
#if BROKEN != 5
        do
        :: atomic { w < WRITERS && card[w] -> goto leave }
        :: atomic { w < WRITERS && !card[w] -> w++ }
        :: atomic { w == WRITERS -> w = 0; break }
        od;
#endif
        do
        :: atomic { at < WRITERS * COMMITS && STALE(at) ->
                    w = commits[at] - 1; commits[at] = EMPTY; log_is_whole() };
           atomic { segment[w] = false; w = 0; at++; log_is_whole() }
        :: atomic { at < WRITERS * COMMITS && !STALE(at) -> at++ }
        :: atomic { at == WRITERS * COMMITS -> at = 0; break }
        od;
        leave:
        atomic { own_card[i] = false; away = true; w = 0; at = 0; newest = 0; all = 0 }
    } unless { atomic { kill[WRITERS + i] && !away ->
                        own_dead[i] = true; away = true; w = 0; at = 0; newest = 0; all = 0 } }
}

/* A person ends a session that seems to hang; it may be alive (docs/format.md, "What remains to people"). */
proctype person() {
    byte at, w, left = ENDINGS;
    do
    :: atomic { left && card[0] -> left--; w = 0 }; fence(w)
    :: atomic { left && card[1] -> left--; w = 1 }; fence(w)
    :: break
    od
}

proctype killer() {
    byte left = KILLS;
    do
    :: atomic { left -> left--; if :: kill[0] = true :: kill[1] = true :: kill[WRITERS] = true fi }
    :: break
    od
}

init {
    atomic {
        byte i;
        for (i : 0 .. WRITERS - 1) { run writer(i) };
        for (i : 0 .. FOLDERS - 1) { run folder(i) };
        run person();
        run killer()
    }
}
