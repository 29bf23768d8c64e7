/* version — the release this source is.
 *
 * Does:      name it once.
 * Does not:  know about the schema's version.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#ifndef HANSARD_VERSION
#define HANSARD_VERSION "0.1.0"
#endif
