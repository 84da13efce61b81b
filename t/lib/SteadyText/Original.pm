# The PL/Python original as the upgrade's tests meet it: its script (t/data/original.sql) among those of the server, until the last
# test that needs it ends: several may run at once, each with a share of a lock.
#
#   use SteadyText::Original;      # skips the whole test where no script can be put there
#   $cluster->sql("CREATE EXTENSION pg_steadytext VERSION '2025.11.25'");
package SteadyText::Original;

use strict;
use warnings;
use Fcntl qw(:flock);
use File::Copy qw(copy);
use File::Spec ();
use SteadyText::Cluster;
use Test::More;

my ($script, $lock);

sub import {
    my $config = $ENV{PG_CONFIG} // (reverse sort glob '/usr/lib/postgresql/*/bin/pg_config')[0];
    chomp(my $directory = `$config --sharedir`);
    my $place = "$directory/extension/pg_steadytext--2025.11.25.sql";
    plan skip_all => "cannot write $place" unless -w "$directory/extension";
    open $lock, '>', File::Spec->tmpdir . '/steadytext-original-' . ($directory =~ tr{/}{-}r) or die "a lock: $!";
    flock $lock, LOCK_SH or die "a share of the lock: $!";
    copy("$SteadyText::Cluster::ROOT/t/data/original.sql", "$place.$$") && chmod(0644, "$place.$$") && rename("$place.$$", $place) or die "$place: $!";
    $script = $place;
    return;
}
END { local $?; unlink $script if $script && flock $lock, LOCK_EX | LOCK_NB }

1;
