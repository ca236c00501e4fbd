export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
mkdir s && echo 2 >s/b && tar -cf a.tar s && rm -r s