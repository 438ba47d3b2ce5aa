/*
 * Sessions, epochs and collection (docs/format.md, section 11), as a model for spin.
 *
 * What it is about: names X and Y. Pack 0 holds both; Y is most of it. Pack 1 is the copy of X out of pack 0, the same
 * bytes whoever copies. Pack 2+s holds X as session s lands it. Point P needs X and Y; it is hidden, and its undo window
 * has passed. Each session may hide or bring back P, speak of it, and commit a point of its own: one that needs X, or X
 * and Y, by any of the ways that a session has to refer to a name. Collectors collect; anybody may be killed between any
 * two steps, and a person may end any session that writes, dead or alive.
 *
 * A step is one operation of the store. What the code does in memory between two operations is part of the first.
 * Names of invariants are those of docs/format.md; names of functions are those of src/knowngood/vault.
 *
 * -DBROKEN=n breaks one rule (the list is in machine.py); spin has to find out.
 */

#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef COLLECTORS
#define COLLECTORS 1
#endif
#ifndef RUNS
#define RUNS 2              /* collections, over all collectors */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef ENDINGS
#define ENDINGS 1           /* sessions that a person ends */
#endif
#ifndef BROKEN
#define BROKEN 0
#endif
/* With ROLES, session 0 brings back, 1 relies on what it sees, 2 hides: fewer states, and deeper. */
#ifdef ROLES
#define CAN(s, what) ((s) == (what))
#else
#define CAN(s, what) true
#endif
#define COMMITS 3           /* numbers of a session: two commits, and a fence after them */

#define PACK(p) (1 << (p))
#define ROW_XP 1            /* rows: X in pack 0, Y in pack 0, X in pack 1, X in pack 2+s */
#define ROW_YP 2
#define ROW_XC 4
#define ROW_W(s) (8 << (s))
#define XS (~ROW_YP)
/* the packs that rows lead to */
#define PACKS_OF(rows) ((((rows) & 3) != 0) | ((((rows) & ROW_XC) != 0) << 1) | (((rows) >> 3) << 2))
/* the rows that lead into packs */
#define ROWS_IN(packs) ((((packs) & 1) * 3) | (((packs) & 2) << 1) | (((packs) >> 2) << 3))
#define RUN_C 8             /* runs: of session s (bit s), of the copy, and three places for what was merged */
#define RUN_M(k) (16 << (k))
#define ROWS_OF(runs) ((((runs) & 7) << 3) | ((((runs) & RUN_C) != 0) * ROW_XC) \
    | ((((runs) & RUN_M(0)) != 0) * merged[0]) | ((((runs) & RUN_M(1)) != 0) * merged[1]) \
    | ((((runs) & RUN_M(2)) != 0) * merged[2]))

#define NOTHING 0           /* what lies under a commit's key */
#define POINT_X 1
#define POINT_XY 2
#define HIDES 3
#define BRINGS_BACK 4
#define JUDGES 5
#define FENCE 6
#define FROM_BEFORE 15      /* the commit that hid P in the beginning */

/* ---------------------------------------------------------------------------------------------------- the store */
byte packs = PACK(0);
byte runs = RUN_M(0);
byte merged[3];             /* rows of merged runs */
byte commits[WRITERS * COMMITS];
bool home = true;           /* the commit that holds P */
bool hider = true;          /* the commit that hid P in the beginning */
byte hidden_by = FROM_BEFORE + 1;   /* by which commit P is hidden; 0: it is not */

/* the epoch in force. Older ones matter to nobody (epoch.py) */
byte number, condemned, condemned_at, deleted, superseded;
bool purged;                /* P is among its purged points */

/* announcements: there, of which epoch, and whose process is dead */
bool card[WRITERS];
byte card_epoch[WRITERS];
bool dead[WRITERS];
bool ended[WRITERS];        /* by a fence, as whoever put it believes */
bool own_card[RUNS];
bool own_dead[RUNS];
byte begun;                 /* collections that have begun */

bool kill[WRITERS + COLLECTORS];
byte acting;                /* exclusive sessions between their announcement and their end, which do not give way */

/* ------------------------------------------------------------------------------------------------ what has to be */
#define IN_FORCE (runs & ~superseded)
#define PLACED (ROWS_OF(IN_FORCE) & ROWS_IN(packs))
#define AT(s, n) commits[(s) * COMMITS + (n)]

/* INV-2, INV-7: what a point that is not purged needs lies in a pack that is there, and a run in force says where. */
inline needed_is_there() {
    d_step {
        byte s_ = 0;
        do
        :: s_ < WRITERS * COMMITS ->
            assert(!(commits[s_] == POINT_X || commits[s_] == POINT_XY) || (PLACED & XS));
            assert(commits[s_] != POINT_XY || (PLACED & ROW_YP));
            s_++
        :: else -> break
        od;
        assert(!home || (purged && !condemned_at) || ((PLACED & XS) && (PLACED & ROW_YP)));
        /* INV-10: what shows is never purged */
        assert(!(home && hidden_by == 0 && purged && !condemned_at));
        /* INV-8: a row in force leads to a pack that is there, or that is condemned or deleted */
        assert((PACKS_OF(ROWS_OF(IN_FORCE)) & ~(packs | condemned | deleted)) == 0);
        s_ = 0
    }
}

/* ------------------------------------------------------------------------------------------------------ a session */
/* Ends a session for good (session.py, fence): its first free number, then its announcement. */
inline fence(s) {
#if BROKEN == 4
    skip;
#else
    d_step { at = 0; do :: at < COMMITS - 1 && AT(s, at) != NOTHING -> at++ :: else -> break od };  /* _first_free */
    do
    :: atomic { AT(s, at) == NOTHING -> AT(s, at) = FENCE; break }
    :: atomic { AT(s, at) != NOTHING && at < COMMITS - 1 -> at++ }
    :: atomic { AT(s, at) != NOTHING && at == COMMITS - 1 -> break }
    od;
#endif
    atomic { ended[s] = true; card[s] = false }
}

proctype writer(byte s) {
    byte seen, shun, gone, rows, next, listed, kind;
    bool away, visible, there, decided;
    {
        /* Session._announce: announce with the epoch seen, then look at the epoch again (INV-4, INV-5). */
        do
        :: atomic { seen = number; shun = condemned | deleted; gone = superseded; decided = purged };
           atomic { card[s] = true; card_epoch[s] = seen };
#if BROKEN == 1
           break
#else
           if
           :: number == seen -> break
           :: number != seen -> card[s] = false
           fi
#endif
        od;
        /* Index.open: the runs in force; with one merged away since the listing, those of the newest epoch. */
        do
        :: listed = runs & ~gone;
           if
           :: atomic { (listed & ~runs) == 0 -> rows = ROWS_OF(listed); break }
           :: atomic { (listed & ~runs) != 0 -> shun = condemned | deleted; gone = superseded }
           fi
        od;
        atomic {
            there = home; visible = home && hidden_by == 0;                /* Catalog.follow */
#if BROKEN != 5
            rows = rows & ~ROWS_IN(shun);
#endif
            seen = 0; gone = 0; listed = 0; shun = 0
        };

        do
        :: atomic { CAN(s, 2) && next == 0 && there && visible -> kind = HIDES }; break
        :: atomic { CAN(s, 0) && next == 0 && there && !visible -> kind = BRINGS_BACK };
           /* Vault.undo: not what the session's epoch says is being collected (INV-10). */
#if BROKEN != 11
           if :: decided -> goto leave :: else -> skip fi;
#endif
           if :: home -> skip :: !home -> goto leave fi; break
        :: atomic { CAN(s, 3) && next == 0 && there -> kind = JUDGES }; break
        :: atomic { CAN(s, 3) && (rows & XS) != 0 -> kind = POINT_X }; break
        :: atomic { CAN(s, 3) && (rows & XS) != 0 && (rows & ROW_YP) != 0 -> kind = POINT_XY }; break
        /* Catalog.trusted_checkpoints: what a visible point needs is there, and the index is not asked (INV-6). */
#if BROKEN == 12
        :: atomic { CAN(s, 1) && there && visible -> kind = POINT_XY }; break
#else
        :: atomic { CAN(s, 1) && there && visible && !decided -> kind = POINT_XY }; break
#endif
#ifdef ROLES
        :: goto leave
#endif
        :: CAN(s, 3) -> kind = POINT_X;                                          /* Ingest: pack, then run, then commit */
#if BROKEN == 6
           atomic { AT(s, next) == NOTHING -> AT(s, next) = kind; next++; needed_is_there() };
#endif
           packs = packs | PACK(2 + s);
           if
           :: card[s] -> skip                                              /* Session.require_announced */
           :: !card[s] -> goto leave
           fi;
           runs = runs | (1 << s); break
        od;

        /* Session.commit: put if absent. */
        again:
        if
        :: atomic {
               AT(s, next) == NOTHING ->
               assert(!ended[s]);                                          /* INV-3 */
               AT(s, next) = kind;
               if
               :: kind == HIDES -> hidden_by = s * COMMITS + next + 1
               :: kind == BRINGS_BACK -> hidden_by = 0
               :: else -> skip
               fi;
               next++;
               needed_is_there()
           };
           if
           :: atomic { CAN(s, 3) && next == 1 && (kind == HIDES || kind == BRINGS_BACK || kind == JUDGES) && (rows & XS) ->
                       kind = POINT_X }; goto again
           :: true
           fi
        :: AT(s, next) != NOTHING                                          /* Fenced */
        fi;
        leave:
        atomic {
            card[s] = false;                                               /* Session.close */
            rows = 0; next = 0; kind = 0; there = false; visible = false; decided = false; away = true
        }
    } unless { atomic { kill[s] && !away -> dead[s] = true;
                        rows = 0; next = 0; kind = 0; there = false; visible = false; decided = false; away = true;
                        seen = 0; gone = 0; listed = 0; shun = 0 } }
}

/* A person ends a session that seems to hang; it may be alive (docs/format.md, "What remains to people"). */
proctype person() {
    byte at, s, left = ENDINGS;
    do
    :: left ->
        left--;
        if
        :: s = 0
        :: s = WRITERS - 1
#if WRITERS > 2
        :: s = 1
#endif
        fi;
        if :: card[s] -> fence(s) :: !card[s] -> skip fi
    :: break
    od
}

proctype killer() {
    byte left = KILLS, who;
    do
    :: left -> left--;
        if :: who = 0 :: who = WRITERS - 1 :: who = WRITERS :: who = WRITERS + COLLECTORS - 1 fi;
        kill[who] = true
    :: break
    od
}

/* ---------------------------------------------------------------------------------------------------- a collector */
/* Collector: the sessions of others; those that are dead are fenced (collect.py, _living_sessions). */
inline living(older_than) {
    s = 0;
    do
    :: atomic { s < WRITERS && card[s] && dead[s] -> skip }; fence(s); s++
    :: atomic { s < WRITERS && !(card[s] && dead[s]) -> blocked = blocked || (card[s] && card_epoch[s] < older_than); s++ }
    :: atomic { s == WRITERS -> s = 0; at = 0; break }
    od
}

/* Carry out what an epoch says is gone (collect.py, _delete). */
inline delete_packs(which) {
    do
    :: atomic {
           (which & packs) != 0 -> p = 0;
           do :: (which & packs & PACK(p)) == 0 -> p++ :: else -> break od;
           packs = packs & ~PACK(p); p = 0;
           needed_is_there()
       }
    :: atomic { (which & packs) == 0 -> break }
    od
}

#if BROKEN == 13
#define MAY_GO(at) true
#else
#define MAY_GO(at) (!card[(at) / COMMITS])
#endif
#define SPEAKS(at) (commits[at] == HIDES || commits[at] == BRINGS_BACK || commits[at] == JUDGES)

inline delete_what_is_gone() {
    delete_packs(deleted);
    do
    :: atomic {
           (superseded & runs) != 0 -> p = 0;
           do :: (superseded & runs & (1 << p)) == 0 -> p++ :: else -> break od;
           runs = runs & ~(1 << p); p = 0;
           needed_is_there()
       }
    :: atomic { (superseded & runs) == 0 -> break }
    od;
    if
    :: purged && !condemned_at ->
        /* Points before what hides them (INV-10). */
#if BROKEN == 10
        if :: hider -> hider = false; if :: hidden_by == FROM_BEFORE + 1 -> hidden_by = 0 :: else -> skip fi :: else -> skip fi;
        needed_is_there();
#endif
        home = false;
        hider = false;
        p = 0;
        do
        /* What a session that may be alive has committed stays: its numbers say where a fence belongs (INV-3). */
        :: atomic { p < WRITERS * COMMITS && SPEAKS(p) && MAY_GO(p) -> commits[p] = NOTHING; p++ }
        :: atomic { p < WRITERS * COMMITS && !(SPEAKS(p) && MAY_GO(p)) -> p++ }
        :: atomic { p == WRITERS * COMMITS -> p = 0; break }
        od
    :: else -> skip
    fi
}

/* What a listing of the commits says: one bit for each key. */
inline list_commits(into) {
    d_step {
        into = home | (hider << 1);
        p = 0;
        do
        :: p < WRITERS * COMMITS -> into = into | ((commits[p] != NOTHING) << (p + 2)); p++
        :: else -> break
        od;
        p = 0
    }
}

/* Mark what is needed (survey.py, Surveyor.survey). Of several copies one that is not condemned counts (mark.py). */
inline survey() {
    atomic {
        list_commits(seen_commits);
        purge = home && ((!condemned_at && (hidden_by != 0 || purged)) || (condemned_at && purged && hidden_by != 0));
        need = 0;
        if :: home && !purge -> need = 3 :: else -> skip fi;
        d_step {
            p = 0;
            do
            :: p < WRITERS * COMMITS ->
                if
                :: commits[p] == POINT_X -> need = need | 1
                :: commits[p] == POINT_XY -> need = 3
                :: else -> skip
                fi;
                p++
            :: else -> break
            od;
            p = 0
        }
    };
    seen_runs = IN_FORCE;
    atomic {
        seen_packs = packs;
        marked = 0;
        rows = ROWS_OF(seen_runs);
        if
        :: need & 2 -> assert(rows & ROW_YP & ROWS_IN(seen_packs)); marked = ROW_YP
        :: else -> skip
        fi;
        good = rows & XS & ~ROWS_IN(condemned | deleted);
        if :: (good & ROWS_IN(seen_packs)) == 0 -> good = rows & XS :: else -> skip fi;
        good = good & ROWS_IN(seen_packs);                  /* what is not there is shunned */
        if
        :: need & 1 ->
            assert(good);
            if
            :: good & ROW_XP -> marked = marked | ROW_XP
            :: good & ROW_XC -> marked = marked | ROW_XC
            :: good & ROW_W(0) -> marked = marked | ROW_W(0)
            :: good & ROW_W(1) -> marked = marked | ROW_W(1)
#if WRITERS > 2
            :: good & ROW_W(2) -> marked = marked | ROW_W(2)
#endif
            fi
        :: else -> skip
        fi;
        assert((PACKS_OF(marked) & ~seen_packs) == 0);
        barren = seen_packs & ~PACKS_OF(marked);
        poor = (marked & 3) == ROW_XP;
        good = 0
    }
}

/* Put the next epoch, if nobody was faster (epoch.py, put_epoch; INV-3). */
#define PUT_EPOCH atomic { number == mine -> number = mine + 1; mine = number

proctype collector(byte i) {
    byte me, s, p, at, mine, seen_runs, seen_packs, rows, marked, need, good, barren, going, keep, copied;
    int seen_commits, now_commits;
    bool blocked, purge, poor, acts;
    do
    :: atomic { begun < RUNS -> me = begun; begun++ };
    {
        /* Session._announce */
        do
        :: mine = number;
           own_card[me] = true;
           if :: number == mine -> break :: number != mine -> own_card[me] = false fi
        od;
        /* Session._be_alone (INV-9) */
#if BROKEN != 9
        do
        :: atomic { s < RUNS && own_card[s] && s != me && own_dead[s] -> own_card[s] = false; s++ }
        :: atomic { s < RUNS && own_card[s] && s != me && !own_dead[s] -> goto leave }
        :: atomic { s < RUNS && (!own_card[s] || s == me) -> s++ }
        :: atomic { s == RUNS -> break }
        od;
#endif
        atomic { s = 0; acting++; acts = true; assert(acting == 1) };
        mine = number;

        living(0);
        delete_what_is_gone();
        survey();
        if
        :: condemned_at -> skip
        :: !condemned_at ->
            if :: !barren && !poor && !purge && IN_FORCE == seen_runs && seen_runs < 3 -> goto leave :: else -> skip fi;
            if
            :: PUT_EPOCH; condemned = barren | poor; condemned_at = mine; purged = purge; needed_is_there() }
            :: number != mine -> goto leave
            fi
        fi;
        blocked = false;
        living(condemned_at);                              /* INV-5 */
#if BROKEN != 3
        if :: blocked -> goto leave :: !blocked -> skip fi;
#endif
        /* _still_true, or survey again (INV-6, INV-7) */
#if BROKEN != 7
        list_commits(now_commits);
        if
        :: atomic { now_commits == seen_commits && runs == seen_runs -> now_commits = 0 }
        :: atomic { now_commits != seen_commits || runs != seen_runs -> now_commits = 0 }; survey()
        fi;
#endif
        /* _remove. What was condemned may be worth keeping by now. */
        barren = barren & condemned;
        poor = poor & condemned & 1;
        copied = 0;
        going = barren | poor;
        if
        :: poor ->                                          /* repack: the copy, then its run */
            packs = packs | PACK(1); copied = PACK(1);
            runs = runs | RUN_C
        :: else -> skip
        fi;
#if BROKEN != 8
        going = going & ~copied;                            /* an interrupted collection had left just this copy */
#endif
        if
        :: true ->
            /* merge_runs: what leads to packs that are there and stay */
            atomic {
                rows = ROWS_OF(seen_runs) & ROWS_IN(seen_packs & ~going);
                if
                :: rows == 0 -> keep = 0
                :: rows == ROW_XC -> keep = RUN_C
                :: rows == ROW_W(0) -> keep = 1
                :: rows == ROW_W(1) -> keep = 2
                :: rows == ROW_W(2) -> keep = 4
                :: else ->
                    p = 0;
                    do                                      /* the same bytes have the same name (INV-1) */
                    :: p < 3 && (runs & RUN_M(p)) && merged[p] == rows -> keep = RUN_M(p); break
                    :: p < 3 && !((runs & RUN_M(p)) && merged[p] == rows) -> p++
                    :: p == 3 -> break
                    od;
                    if
                    :: p < 3 -> skip
                    :: p == 3 && !((runs | superseded) & RUN_M(0)) -> merged[0] = rows; keep = RUN_M(0)
                    :: p == 3 && !((runs | superseded) & RUN_M(1)) -> merged[1] = rows; keep = RUN_M(1)
                    :: p == 3 && !((runs | superseded) & RUN_M(2)) -> merged[2] = rows; keep = RUN_M(2)
                    :: else -> goto leave                   /* as if killed here */
                    fi
                fi;
                runs = runs | keep;
                p = 0
            };
            if :: copied -> keep = keep | RUN_C :: else -> skip fi;
#if BROKEN == 2
            delete_packs(going);
#endif
            if
            :: PUT_EPOCH;
                deleted = going;
#if BROKEN == 14
                superseded = (superseded | seen_runs) & runs;
#else
                superseded = (superseded | seen_runs) & ~keep & runs;
#endif
                condemned = 0; condemned_at = 0; purged = purge; needed_is_there() }
            :: number != mine -> goto leave
            fi
        :: barren != 0 ->                                     /* NoSpace: only what nothing needs, and the runs stay */
            if
            :: PUT_EPOCH;
                deleted = deleted | barren;
                superseded = superseded & runs;
                condemned = 0; condemned_at = 0; purged = purge; needed_is_there() }
            :: number != mine -> goto leave
            fi
        fi;
        delete_what_is_gone();
        leave:
        atomic { own_card[me] = false; acting = acting - acts; acts = false }
    } unless { atomic { kill[WRITERS + i] ->
                        kill[WRITERS + i] = false; own_dead[me] = true; acting = acting - acts; acts = false } };
    d_step {
        blocked = false; purge = false; poor = false;
        s = 0; p = 0; at = 0; mine = 0; seen_runs = 0; seen_packs = 0; rows = 0; marked = 0; need = 0; good = 0; barren = 0;
        going = 0; keep = 0; copied = 0; seen_commits = 0; now_commits = 0
    }
    :: begun >= RUNS -> break
    od
}

init {
    atomic {
        merged[0] = ROW_XP | ROW_YP;
        byte s_;
        for (s_ : 0 .. WRITERS - 1) { run writer(s_) };
        for (s_ : 0 .. COLLECTORS - 1) { run collector(s_) };
        run person();
        run killer()
    }
}
