#include "broker/scripts.h"

#include "broker/scripts.inc"
