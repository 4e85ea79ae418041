/* bake_private.h - what the files of control/bake share; no other file includes it: bake.c (its life), bake_count.c (what is
 * counted, and judged), bake_claim.c (the claim that bars others), bake_revert.c (the rollback), bake_hold_back.c (the old color's share).
 * Thread: main. */
#ifndef CONTROL_BAKE_PRIVATE_H
#define CONTROL_BAKE_PRIVATE_H

#include "control/bake.h"

/* Ends it with that verdict, and tells all. */
void bake_end(struct bake *b, enum bake_verdict verdict, const char *message);
/* The next look comes so soon. */
void bake_look_again(struct bake *b, double seconds);

/* Facts, evidence and text as they are now. */
void bake_judge(struct bake *b);
/* Claims the service for the time of the bake, also over the claim of another teald's of the same; releases it, at the end
 * of `what`. */
void bake_claim(const struct bake *b);
void bake_release(const struct bake *b, const char *what);
/* Has another teald of the fleet gone on with it? */
bool bake_is_judged_elsewhere(const struct bake *b);
/* Every QUALITY_STEP seconds: does the teald judge that has begun to? */
void bake_look_for_orphan(struct service_ctl *ctl, double now);
/* Sets hold_back, base_old and the kind of control by the record. */
void bake_find_control(struct bake *b);
/* Ends it with that verdict, and before that the hold-back, if there is one: by a flip, which is tried until it is made. */
void bake_finish(struct bake *b, enum bake_verdict verdict, const char *message);
/* PROMOTING: tries that. */
void bake_take_rest(struct bake *b);
/* Starts the rollback; tried again until it is made. */
void bake_revert(struct bake *b);

#endif
